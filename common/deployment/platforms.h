// What `aragora init` writes for the place where the service is to run: the project's own files of deploy/, compiled
// into this binary and filled in for this machine, and secrets. Pure: what to write is answered, and written by whoever
// asked. Static tables and copies, any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aragora::deployment {

enum class Platform { Systemd, Docker, Compose, Kubernetes };
// As they are written on the command line, in this order.
const std::vector<std::string>& platformNames();
Platform parsePlatform(const std::string& name);

// What the programs of that place do not take in the name of a directory, however it is quoted.
std::string_view unusableIn(Platform platform);

struct Site {
  std::filesystem::path directory;  // absolute; everything goes there
  std::string host;                 // by which clients come; empty when nobody said
  std::string state_directory;      // of systemd's
  std::string today;                // 2026-11-28
};

struct PlannedFile {
  std::string path;  // below the directory
  std::string content;
  unsigned mode = 0644;
  bool secret = false;  // is never written again: what it opens would be lost
};

struct Plan {
  std::vector<PlannedFile> files;
  std::vector<std::string> next;   // the three commands to type then, in this order
  std::vector<std::string> proxy;  // and when it runs: a certificate of the host, and nginx with it
};

// What is there already, by its path below the directory: a secret that another one repeats is made once.
using Kept = std::function<std::optional<std::string>(const std::string& path)>;

// A configuration and its secrets, for what the administrator knows better.
Plan productionPlan(const Site& site);
Plan planFor(Platform platform, const Site& site, const Kept& kept);

}  // namespace aragora::deployment
