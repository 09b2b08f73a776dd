# Every third-party library, all from Debian 12. Which module may include which is checked by scripts/check-layers.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_path(POCO_INCLUDE Poco/Net/HTTPSClientSession.h REQUIRED)
find_package(spdlog REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_path(CLI11_INCLUDE CLI/CLI.hpp REQUIRED)
find_path(TOMLPP_INCLUDE toml++/toml.h REQUIRED)
foreach(pair "libpq;PQ" "sqlite3;SQLITE" "libzstd;ZSTD" "libsystemd;SYSTEMD" "libsodium;SODIUM" "libqrencode;QRENCODE")
  list(GET pair 0 module)
  list(GET pair 1 prefix)
  pkg_check_modules(${prefix} REQUIRED IMPORTED_TARGET ${module})
endforeach()

# Linked by name: the packages' own CMake and pkg-config files add macros (_DEBUG, _XOPEN_SOURCE, _FILE_OFFSET_BITS) that
# would keep the precompiled header from being used.
add_library(poco INTERFACE)
target_link_libraries(poco INTERFACE PocoNetSSL PocoCrypto PocoNet PocoXML PocoFoundation)
find_path(HIREDIS_INCLUDE hiredis/hiredis.h REQUIRED)
add_library(hiredis INTERFACE)
target_link_libraries(hiredis INTERFACE -lhiredis)
