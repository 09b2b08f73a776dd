// Texts that are made from the catalogue: the example file and the man page of the settings.
#pragma once

#include <string>

namespace aragora::config {

std::string renderExampleFile();         // docs/aragora.toml.example
std::string renderManPage();             // man/aragora.toml.5 (mdoc)
std::string renderEnvironmentManPage();  // man/aragora-environment.7

}  // namespace aragora::config
