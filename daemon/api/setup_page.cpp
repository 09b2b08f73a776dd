#include "daemon/api/setup_page.h"

#include "common/accounts/self_service.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "daemon/api/account_requests.h"

namespace aragora::api {

namespace {
constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:26em;margin:4em auto;padding:0 "
    "1em;color:#1a1a1a;background:#fff}"
    "label{display:block;margin:1em 0 .2em}input{width:100%;box-sizing:border-box;padding:.5em;font:inherit}"
    "button{margin-top:1.5em;padding:.6em 1.2em;font:inherit}.wrong{color:#a00}";

// What the page may do: look as it does, and send its form here.
const std::string& policy() {
  static const std::string kPolicy = fmt::format(
      "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
      toBase64(crypto::sha256(kStyle)));
  return kPolicy;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

web::Response page(const std::string& content, int status = 200) {
  web::Response response;
  response.status = status;
  response.content_type = "text/html; charset=utf-8";
  response.content_policy = policy();
  response.body = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\"><title>Aragora: the first administrator</title><style>{}</style></head>\n<body>"
      "<h1>The first administrator</h1>\n{}</body></html>\n",
      kStyle, content);
  return response;
}

struct Filled {
  std::string token;
  std::string email;
  std::string name;
};

// The form's address is relative: whatever a proxy puts before our paths stays there.
std::string form(const Filled& filled, const std::string& wrong) {
  return fmt::format(
      "{}<form method=\"post\" action=\"setup\" autocomplete=\"off\"><input type=\"hidden\" name=\"token\" "
      "value=\"{}\">\n<label for=\"email\">E-mail address</label><input id=\"email\" name=\"email\" type=\"email\" "
      "required maxlength=\"254\" value=\"{}\">\n<label for=\"name\">Name</label><input id=\"name\" name=\"name\" "
      "maxlength=\"200\" value=\"{}\">\n<label for=\"password\">Password, 15 characters or more</label><input "
      "id=\"password\" name=\"password\" type=\"password\" required minlength=\"15\" "
      "autocomplete=\"new-password\">\n<button>Create the account</button></form>\n",
      wrong.empty() ? "<p>This link is good once. Whoever fills this in administers this deployment.</p>\n"
                    : fmt::format("<p class=\"wrong\" role=\"alert\">{}</p>\n", escaped(wrong)),
      escaped(filled.token), escaped(filled.email), escaped(filled.name));
}

std::string fieldOf(const std::map<std::string, std::string>& fields, const char* name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string() : found->second;
}
}  // namespace

bool wantsPage(const web::Request& request) {
  return lower(request.list("accept")).find("text/html") != std::string::npos;
}

web::Response setUpPage(const std::string& token) { return page(form({token, "", ""}, "")); }

web::Response setUpByForm(const web::Request& request, const Services& services) {
  const auto fields = request.form();
  const Filled filled{fieldOf(fields, "token"), fieldOf(fields, "email"), fieldOf(fields, "name")};
  try {
    const auto user = services.self_service.setUp(
        filled.token, {filled.email, filled.name, Secret(fieldOf(fields, "password"))}, clientOf(request));
    return page(fmt::format("<p>{} is the administrator of this deployment.</p>\n<p>Log in (POST /api/auth/login), and "
                            "enrol a second factor: in production nothing is administered without one.</p>\n",
                            escaped(user.email)),
                201);
  } catch (const Error& error) {
    const auto status = info(error.code()).http_status;
    if (status >= 500) throw;  // said as everywhere else, without what is inside
    return page(form(filled, error.hint().empty() ? error.what() : fmt::format("{}: {}", error.what(), error.hint())),
                status);
  }
}

}  // namespace aragora::api
