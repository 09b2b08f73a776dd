// The command line as the commands see it; CLI11 stays behind it. A command declares its options on targets that live
// in a shared options struct and names the function to run. Usage errors leave with exit status 64 and the nearest
// name.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace aragora::cli {

class Context;
using Run = std::function<int(Context&)>;

// What the value of an option is: help shows it and completion knows it. With choices nothing else is taken.
struct Value {
  std::string type;
  std::vector<std::string> choices;
};
inline Value text() { return {"TEXT", {}}; }
inline Value file() { return {"FILE", {}}; }
inline Value directory() { return {"DIRECTORY", {}}; }
inline Value place() { return {"PLACE", {}}; }    // offsite, s3://bucket/prefix, or a directory
inline Value backup() { return {"BACKUP", {}}; }  // a path, an id, or latest
inline Value oneOf(std::vector<std::string> choices) { return {{}, std::move(choices)}; }

class CommandLine {
 public:
  CommandLine(CLI::App& app, std::shared_ptr<Run> chosen) : app_(app), chosen_(std::move(chosen)) {}

  CommandLine& flag(const std::string& names, bool& target, const std::string& description);
  CommandLine& option(const std::string& names, std::optional<std::string>& target, const std::string& description,
                      const Value& value = text());
  CommandLine& option(const std::string& names, std::optional<std::int64_t>& target, const std::string& description);
  CommandLine& list(const std::string& names, std::vector<std::string>& target, const std::string& description);
  CommandLine& positional(const std::string& name, std::optional<std::string>& target, const std::string& description,
                          const Value& value = text());
  CommandLine subcommand(const std::string& name, const std::string& description);
  // What runs when this command is the one that was named (and none of its subcommands).
  void run(Run function);

 private:
  CLI::App& app_;
  std::shared_ptr<Run> chosen_;
};

// What every command takes.
struct GlobalOptions {
  std::optional<std::string> config_file;
  std::optional<std::string> env_file;
  std::optional<std::string> unit;
  std::vector<std::string> settings;  // --set key=value
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  bool no_color = false;
};

struct Parsed {
  Run run;                // empty: help or the version was asked for
  std::string text;       // that, for standard output
  json::object document;  // the same for --json: {"help": …, "command": as dumpCommands()}, or {"version": …}
};

// Whether --json is among the words, also when they are wrong otherwise.
bool wantsJson(int argc, const char* const* argv);

// Throws Error(Usage).
Parsed parseCommandLine(int argc, const char* const* argv, GlobalOptions& global);

// Every command with its options, for completion and the man page test: {"name": …, "options": [{"name", "value":
// "FILE" or "a|b", empty for a flag}], "arguments": ["a|b"], "commands": [...]}.
std::string dumpCommands();

}  // namespace aragora::cli
