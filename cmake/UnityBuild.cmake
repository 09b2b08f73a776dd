# The presets of the tests compile the modules in unity sources: the headers, which cost more than our own lines, are read once
# for eight files (docs/decisions/0057). Names without linkage then meet: the second file that has one is compiled by itself.
# A clash that is missing here fails these builds with "redefinition of".
set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)
set(aragora_compiled_alone
  common/accounts/api_keys.cpp
  common/accounts/one_time_tokens.cpp
  common/accounts/second_factor.cpp
  common/accounts/totp.cpp
  common/backup/ownership.cpp
  common/backup/physical/base_source.cpp
  common/base/log_queue.cpp
  common/base/secret_shapes.cpp
  common/checklist/facts.cpp
  common/config/secret_file.cpp
  common/crypto/age.cpp
  common/database/postgres/connecting.cpp
  common/drill/key_rotation.cpp
  common/notify/told.cpp
  common/ratings/glicko.cpp
  common/store/budgets.cpp
  common/store/debates.cpp
  common/store/events.cpp
  common/store/standings.cpp
  daemon/api/breakers.cpp
  daemon/api/debates.cpp
  daemon/api/self_service.cpp
  daemon/chat/question.cpp
  daemon/debate/runner.cpp
  daemon/edge/local_socket.cpp
  daemon/edge/occupancy.cpp
  daemon/lifecycle/probe.cpp
  daemon/lifecycle/prober.cpp
  daemon/lifecycle/recovery_metrics.cpp
  daemon/providers/codec/chat_errors.cpp
  daemon/providers/codec/openai.cpp)
list(TRANSFORM aragora_compiled_alone PREPEND ${CMAKE_SOURCE_DIR}/)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)  # takes an included source for a header
endif()
