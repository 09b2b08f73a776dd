#include "common/models/catalogue.h"

#include <algorithm>

#include "common/base/embedded_file.h"
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/config/loader.h"
#include "common/models/reader.h"

namespace aragora::models {

const std::vector<EmbeddedFile>& embeddedModels();

namespace {
bool called(const Model& model, std::string_view id) {
  return model.id == id || std::find(model.aliases.begin(), model.aliases.end(), id) != model.aliases.end();
}

bool matches(std::string_view pattern, std::string_view text) {
  if (!endsWith(pattern, "*")) return pattern == text;
  pattern.remove_suffix(1);
  return startsWith(text, pattern);
}
}  // namespace

const Catalogue& Catalogue::builtIn() {
  static const Catalogue catalogue = [] {
    std::vector<config::Problem> problems;
    auto read = parse(embeddedModels().front().text, "models.toml (built in)", problems);
    ARAGORA_CHECK(problems.empty());
    return read;
  }();
  return catalogue;
}

std::filesystem::path overrideFile(const config::Config& config) {
  if (config.isSet(config::key::kModelsFile)) return config.text(config::key::kModelsFile);
  auto installed = std::filesystem::path(config::kInstalledDirectory) / "models.toml";
  std::error_code hidden;  // to whom that directory is closed, it is another deployment's
  return std::filesystem::exists(installed, hidden) ? installed : std::filesystem::path();
}

Catalogue Catalogue::load(const config::Config& config, std::vector<config::Problem>& problems) {
  const auto path = overrideFile(config);
  if (path.empty()) return builtIn();
  const auto before = problems.size();
  std::string text;
  try {
    text = readFile(path);
  } catch (const Error& error) {
    problems.push_back({std::string(config::key::kModelsFile), path.string(), error.what(), path.string(),
                        "let the service's user read it, or take it away"});
    return builtIn();
  }
  const auto own = parse(text, path.string(), problems);
  return problems.size() == before ? builtIn().with(own) : builtIn();
}

Catalogue Catalogue::parse(std::string_view text, const std::string& name, std::vector<config::Problem>& problems) {
  Catalogue catalogue;
  catalogue.models_ = readModels(text, name, problems);
  return catalogue;
}

Catalogue Catalogue::with(const Catalogue& other) const {
  Catalogue merged = other;
  for (const auto& model : models_) {
    const bool replaced = std::any_of(other.models_.begin(), other.models_.end(), [&](const Model& one) {
      return one.provider == model.provider && (one.id == model.id || called(model, one.id));
    });
    if (!replaced) merged.models_.push_back(model);
  }
  return merged;
}

std::optional<Model> Catalogue::find(std::string_view provider, std::string_view id, Micros at) const {
  // What answers in this process costs nothing.
  if (provider == "demo" || provider == "sim") {
    Model free;
    free.provider = free.family = provider;
    free.id = id;
    return free;
  }
  const Model* found = nullptr;
  const auto consider = [&](const Model& model) {
    if (model.effective_from <= at && (found == nullptr || model.effective_from > found->effective_from))
      found = &model;
  };
  for (const auto& model : models_) {
    if (model.provider == provider && called(model, id)) consider(model);
  }
  if (found != nullptr) return *found;
  if (provider != config::name(config::Provider::OpenRouter) || id.empty()) return std::nullopt;
  for (const auto& model : models_) {
    if (model.openrouter_id == id) consider(model);
  }
  if (found == nullptr) return std::nullopt;
  auto routed = *found;
  routed.provider = provider;
  routed.id = id;
  return routed;
}

std::string Catalogue::familyOf(std::string_view provider, std::string_view id, Micros at) const {
  if (const auto known = find(provider, id, at)) return known->family;
  const auto name = id.substr(id.rfind('/') + 1);
  const auto word = name.substr(0, lower(name).find_first_not_of("abcdefghijklmnopqrstuvwxyz"));
  return word.empty() ? std::string(provider) : lower(word);
}

bool allowed(const std::vector<std::string>& list, std::string_view provider, std::string_view model) {
  const auto full = fmt::format("{}:{}", provider, model);
  return list.empty() || std::any_of(list.begin(), list.end(), [&](const std::string& pattern) {
           return matches(pattern, model) || matches(pattern, full);
         });
}

}  // namespace aragora::models
