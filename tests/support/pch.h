// Precompiled for every test, as the tests are compiled.
#pragma once

#include <gtest/gtest.h>

#include "common/base/pch.h"
