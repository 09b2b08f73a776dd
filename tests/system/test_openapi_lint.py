"""The description of the API has no fault that a linter of its standard knows. A linter that is missing is a failure."""
import copy
import json
import subprocess
import unittest

from support import SOURCE, Daemon, Sandbox, main


class Lint(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = cls.enterClassContext(Sandbox())
        cls.sandbox.run("migrate", check=0)
        with Daemon(cls.sandbox) as daemon:
            cls.document = daemon.get("/api/openapi.json")[1]

    def lint(self, document):
        file = self.sandbox.write("openapi.json", json.dumps(document))
        return subprocess.run([SOURCE / "scripts/openapi-lint", file], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)

    def test_nothing_is_found(self):
        result = self.lint(self.document)
        self.assertEqual((result.returncode, result.stdout.strip()), (0, ""), result.stdout + result.stderr)

    def test_what_is_wrong_is_found(self):
        def spoiled(change):
            document = copy.deepcopy(self.document)
            change(document)
            return document

        login = lambda document: document["paths"]["/api/auth/login"]["post"]
        for name, change in {"operation-operationId-unique": lambda d: login(d).update(operationId="logOut"), "invalid-ref": lambda d: login(d)["responses"].update({"401": {"$ref": "#/components/responses/Nothing"}}),
                             "path-params": lambda d: d["paths"]["/api/debates/{id}"]["get"].pop("parameters"), "operation-description": lambda d: login(d).pop("description"),
                             "oas3-unused-component": lambda d: d["components"]["schemas"].update({"Spare": {"type": "object"}})}.items():
            result = self.lint(spoiled(change))
            self.assertEqual(result.returncode, 1, name + result.stderr)
            self.assertIn(name, result.stdout)


if __name__ == "__main__":
    main()
