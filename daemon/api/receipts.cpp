#include "common/store/receipts.h"
#include "common/base/text.h"
#include "daemon/api/debate_calls.h"

// Receipts of debates, and what proves that the log over them only grows.
namespace aragora::api {

namespace {
constexpr std::int64_t kMost = 1'000'000'000'000;

std::optional<std::int64_t> optionalInteger(const web::Request& request, std::string_view name) {
  if (request.query.count(std::string(name)) == 0) return std::nullopt;
  return request.integer(name, 0, 1, kMost);
}

web::Response receiptOf(const web::Request& request, const Services& services) {
  const auto debate = require(request, services);
  if (!debate.finished())
    throw Error(Code::Conflict, fmt::format("the debate is {}: it has no receipt yet", store::name(debate.status)),
                "wait for its end");
  const auto receipt = services.receipts.ofDebate(debate.id);
  if (!receipt)
    throw Error(Code::Conflict, "the debate ended under an earlier version and its receipt is being written",
                "ask again in a minute");
  return web::jsonResponse(services.receipts.bundle(*receipt, optionalInteger(request, "size")));
}

// By its place in the log or by its debate, which may be gone.
store::Receipt requireReceipt(const web::Request& request, const Services& services) {
  constexpr std::size_t kLongest = 128;
  const auto& id = request.parameters.at("id");
  std::optional<store::Receipt> receipt;
  if (const auto index = parseInteger(id); index && *index >= 0 && *index <= kMost)
    receipt = services.receipts.at(*index);
  else if (id.size() <= kLongest)
    receipt = services.receipts.ofDebate(id);
  if (!receipt)
    throw Error(Code::NotFound, fmt::format("Receipt not found: {}", printable(id, 60)),
                "receipts are counted from 0: /api/receipts/0");
  return std::move(*receipt);
}

web::Response one(const web::Request& request, const Services& services) {
  return web::jsonResponse(
      services.receipts.bundle(requireReceipt(request, services), optionalInteger(request, "size")));
}

web::Response inclusion(const web::Request& request, const Services& services) {
  return web::jsonResponse(
      services.receipts.inclusion(requireReceipt(request, services).index, optionalInteger(request, "size")));
}

web::Response checkpoint(const web::Request& request, const Services& services) {
  const auto format = request.text("format");
  if (!format.empty() && format != "json" && format != "note")
    throw Error(Code::Validation, fmt::format("there is no checkpoint as '{}'", printable(format, 20)),
                "use json or note");
  const auto document = services.receipts.checkpoint(optionalInteger(request, "size"));
  if (format != "note") return web::jsonResponse(document);
  web::Response response;
  response.body = document.at("checkpoint").as_string();
  response.content_type = "text/plain; charset=utf-8";
  return response;
}

web::Response consistency(const web::Request& request, const Services& services) {
  const auto from = optionalInteger(request, "from");
  if (!from) throw Error(Code::Validation, "consistency with what?", "?from=SIZE, of the checkpoint that was kept");
  return web::jsonResponse(services.receipts.consistency(*from, optionalInteger(request, "to")));
}

web::Response keys(const web::Request&, const Services& services) {
  return web::jsonResponse(services.receipts.keys());
}
}  // namespace

void addReceiptRoutes(web::Router& router, const Services& services) {
  using Handler = web::Response (*)(const web::Request&, const Services&);
  const auto add = [&](const char* path, accounts::Permission permission, Handler handler,
                       std::vector<std::string_view> query) {
    router.add({.method = "GET",
                .pattern = path,
                .permission = permission,
                .handler = [&services, handler](const web::Request& request) { return handler(request, services); },
                .query = std::move(query)});
  };
  using accounts::Permission;
  add("/api/debates/{id}/receipt", Permission::ReadDebates, receiptOf, {"size"});
  add("/api/receipts/checkpoint", Permission::ReadDebates, checkpoint, {"size", "format"});
  add("/api/receipts/consistency", Permission::ReadDebates, consistency, {"from", "to"});
  add("/api/receipts/{id}", Permission::ReadDebates, one, {"size"});
  add("/api/receipts/{id}/inclusion", Permission::ReadDebates, inclusion, {"size"});
  add("/.well-known/aragora-keys.json", Permission::Public, keys, {});
}

}  // namespace aragora::api
