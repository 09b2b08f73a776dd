# Language level, warnings, hardening and sanitizers: the same for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
add_compile_options(-fPIE)  # one setting for all, so that one precompiled header serves all
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
# The same bytes wherever it is built: no path of this machine in messages, debug information or the build id. The last that
# fits counts.
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -ffile-prefix-map=${CMAKE_BINARY_DIR}=./build)

add_compile_options(-Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Wno-missing-field-initializers)
if(ARAGORA_WERROR)
  add_compile_options(-Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Dubious in GCC 12 at -O1/-O2: both fire inside libstdc++ and Boost headers, not on our code.
  add_compile_options(-Wno-maybe-uninitialized -Wno-restrict)
endif()

if(ARAGORA_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-tsan)  # Boost.Asio uses atomic_thread_fence, which TSan does not model
endif()
if(ARAGORA_SANITIZE)
  add_compile_options(-fsanitize=${ARAGORA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ARAGORA_SANITIZE})
else()
  add_compile_options(-fstack-protector-strong -fstack-clash-protection)
  add_compile_options($<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
endif()
add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
if(ARAGORA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage of everything, the entry point only where it is
endif()
find_program(ARAGORA_LLD ld.lld)
if(ARAGORA_LLD)
  add_link_options(-fuse-ld=lld)
endif()
