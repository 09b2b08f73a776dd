// models.toml, strictly: a misspelt key or a price that is none is a problem with its line, never a default. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/agents.h"
#include "common/models/model.h"

namespace aragora::models {

std::vector<Model> readModels(std::string_view text, const std::string& name, std::vector<config::Problem>& problems);

}  // namespace aragora::models
