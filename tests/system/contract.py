"""The API's description as a judge: every answer is held against what its operation declares, and noted."""
import collections
import datetime
import json
import re

from jsonschema import Draft202012Validator, FormatChecker, RefResolver

FORMATS = FormatChecker(formats=())
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@FORMATS.checks("date-time", raises=ValueError)
def is_moment(value):
    """RFC 3339; the library leaves it to packages that are not there, and then takes anything."""
    return not isinstance(value, str) or (bool(MOMENT.fullmatch(value)) and bool(datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))))


class Broken(AssertionError):
    """An answer that is not what the description says."""


class Contract:
    def __init__(self, document):
        self.document = document
        self.resolver = RefResolver("", document)
        self.seen = collections.defaultdict(list)  # (operation, status): bodies
        for schema in document["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)

    def operations(self):
        """Each as "GET /path" with what is said about it."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield f"{method.upper()} {path}", operation

    def operation(self, name):
        method, path = name.split(" ")
        return self.document["paths"][path][method.lower()]

    def resolved(self, node):
        return self.resolver.resolve(node["$ref"])[1] if "$ref" in node else node

    def errors(self, schema, value):
        validator = Draft202012Validator(schema, resolver=self.resolver, format_checker=FORMATS)
        return [f"{'/'.join(map(str, error.absolute_path)) or 'the whole'}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def parameters(self, operation):
        return [self.resolved(one) for one in operation.get("parameters", [])]

    def body_schema(self, operation):
        body = operation.get("requestBody")
        return body and body["content"]["application/json"]["schema"]

    def answer_schema(self, name, status, media="application/json"):
        return self.resolved(self.operation(name)["responses"][str(status)])["content"][media]["schema"]

    def check(self, name, status, headers, body):
        """Of an operation: its status is declared, and headers and body are what they have to be."""
        declared = self.operation(name)["responses"]
        if str(status) not in declared:
            raise Broken(f"{name} answers {status}, which it does not declare: {body[:300]}")
        value = self.check_response(f"{name} {status}", declared[str(status)], headers, body)
        self.seen[name, status].append(value)
        return value

    def check_response(self, what, response, headers, body):
        response = self.resolved(response)
        self.check_headers(what, response.get("headers", {}), headers)
        content = response.get("content")
        if content is None:
            if body:
                raise Broken(f"{what}: there is to be no body, but {body[:200]}")
            return None
        media = headers.get("content-type", "").split(";")[0]
        if media not in content:
            raise Broken(f"{what}: content of type '{media}' is not declared")
        value = json.loads(body) if media == "application/json" else body.decode()
        if wrong := self.errors(content[media]["schema"], value):
            raise Broken(f"{what}: {'; '.join(wrong[:4])}\n{body[:1500]}")
        return value

    def check_headers(self, what, declared, headers):
        for name, header in declared.items():
            header, value = self.resolved(header), headers.get(name.lower())
            if value is None:
                if header.get("required"):
                    raise Broken(f"{what}: the header {name} is missing")
            elif wrong := self.errors(header["schema"], value):
                raise Broken(f"{what}: header {name}: {'; '.join(wrong)}")
        known = {name.lower() for name in self.document["components"]["headers"]} | {"x-next-before"}
        if unsaid := (known & set(headers)) - {name.lower() for name in declared} - {"upgrade"}:
            raise Broken(f"{what}: carries {', '.join(sorted(unsaid))}, which it does not declare")

    def unseen(self):
        """Every status that some operation declares and that no answer had."""
        return sorted((name, int(status)) for name, operation in self.operations() for status in operation["responses"] if not self.seen[name, int(status)])

    # What follows looks at the judge: a schema that lets everything pass proves nothing.

    # By their names: where anybody may put anything, and what need not be there.
    OPEN = {"said", "digests", "details", "metadata", "preferences", "info", "paths", "components"}
    OPTIONAL = {"hint", "suggestion", "details", "errors", "retry_after", "reason", "error", "why", "preferences"}
    # And by where they are: what has been said since there are rules of a second version, and how a debate came out that came to its end.
    LATER = {"data": {"kind", "continue", "position", "confidence", "key_claims", "id", "strength", "protocol", "open_risks", "from", "dissent"}, "votes": {"kind", "continue"}, "items": {"kind", "continue"},
             "served_by": {"request_id", "request_ids"},
             "report": {"final_winner", "debate_changed_the_outcome", "consensus_reached", "agreed_without_debate", "excluded", "synthesis"}}
    ONCE_DECIDED = {"conclusion", "supporting_agents", "dissenting_agents", "votes", "method", "tied", "leader"}
    ONCE_RATED = {"rank", "agent_name", "elo_rating", "wins", "losses", "draws", "games", "matches", "matches_played", "total_debates", "win_rate", "last_debate", "agent", "provider", "model", "rating", "rating_deviation", "volatility", "lower_bound", "upper_bound", "provisional", "streak", "streak_type", "recent_trend", "domains"}

    def spoiled(self, value, keyed=False, inside=""):
        """What may not pass, at any depth: a member that nobody declared, none where one has to be, something else in its place.
        What is `keyed` has whatever members there are, all of a kind."""
        if isinstance(value, list):
            kinds = {element["type"] if isinstance(element, dict) and "type" in element else "": number for number, element in reversed(list(enumerate(value)))}
            for number in kinds.values():
                for what, wrong in self.spoiled(value[number], inside=inside):
                    yield what, [*value[:number], wrong, *value[number + 1:]]
        if not isinstance(value, dict):
            return
        if not keyed:
            yield "an undeclared member", {**value, "x-planted": 1}
        for name, member in list(value.items())[:1 if keyed else None]:
            if name in self.OPEN:
                continue
            yield f"something else as {name}", {**value, name: {"x-planted": []}}
            if not keyed and name not in self.OPTIONAL | self.ONCE_DECIDED | self.ONCE_RATED | self.LATER.get(inside, set()):
                yield f"no {name}", {other: one for other, one in value.items() if other != name}
            for what, wrong in self.spoiled(member, keyed=name in ("settings", "domains", "breakers"), inside=name):
                yield f"{what} in {name}", {**value, name: wrong}

    def toothless(self):
        """Answers that would pass whatever they were: each schema is tried with one that it let pass."""
        tried = set()
        for (name, status), values in list(self.seen.items()):
            value = next((v for v in values if isinstance(v, dict) and v), None)
            if value is None or name.endswith("openapi.json") and status == 200:
                continue
            schema = self.answer_schema(name, status)
            if (key := json.dumps(schema)) in tried:
                continue
            tried.add(key)
            for what, wrong in self.spoiled(value):
                if not self.errors(schema, wrong):
                    yield f"{name} {status}: {what}"
