#include "common/base/embedded_file.h"
