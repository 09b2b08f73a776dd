// The models that are known, from a dated file: the one that is compiled in (share/aragora/models.toml), and what an
// operator's own says instead. Immutable, any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.h"
#include "common/models/model.h"

namespace aragora::models {

class Catalogue {
 public:
  // Those that are compiled in.
  static const Catalogue& builtIn();
  // These, and instead of a model's entries those of the file, when it has some: `models.file`, or models.toml in
  // /etc/aragora when there is one. What is wrong with it becomes problems, all of them, and none of it is used.
  static Catalogue load(const config::Config& config, std::vector<config::Problem>& problems);
  // The whole of a file, or problems with file, line and key. `name` is used in origins.
  static Catalogue parse(std::string_view text, const std::string& name, std::vector<config::Problem>& problems);

  // By its id or an alias, exactly, with the prices of that moment. A model of OpenRouter is also found by what
  // OpenRouter calls it, with the prices of its vendor. nullopt: unknown, and so not to be run under a cap.
  std::optional<Model> find(std::string_view provider, std::string_view id, Micros at) const;
  // Models of one family err alike, whoever serves them. Of one that is unknown it is the word its name begins with:
  // "gpt-oss:20b" is a gpt, "meta/llama-5" a llama.
  std::string familyOf(std::string_view provider, std::string_view id, Micros at) const;
  const std::vector<Model>& models() const { return models_; }
  // Those of `other` instead of ours.
  Catalogue with(const Catalogue& other) const;

 private:
  std::vector<Model> models_;
};

// Where the operator's file is looked for; empty when there is none.
std::filesystem::path overrideFile(const config::Config& config);

// Whether a list such as `models.allowed` has it: "claude-*", "openrouter:meta/*", "gpt-6-sol". An empty one has all.
bool allowed(const std::vector<std::string>& list, std::string_view provider, std::string_view model);

}  // namespace aragora::models
