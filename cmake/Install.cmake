# `cmake --install`: GNU directories, units where systemd looks for them.
find_program(GZIP gzip REQUIRED)

# Without name and time in it: the same bytes whenever it is built.
set(compressed_folder ${CMAKE_BINARY_DIR}/compressed)
file(MAKE_DIRECTORY ${compressed_folder})
function(aragora_install_compressed from name destination)
  add_custom_command(OUTPUT ${compressed_folder}/${name} DEPENDS ${from} VERBATIM
    COMMAND ${GZIP} -9nc ${from} > ${compressed_folder}/${name})
  set_property(GLOBAL APPEND PROPERTY aragora_compressed ${compressed_folder}/${name})
  install(FILES ${compressed_folder}/${name} DESTINATION ${destination})
endfunction()

install(TARGETS aragora RUNTIME)
foreach(section 1 5 7 8)
  file(GLOB pages ${CMAKE_SOURCE_DIR}/man/*.${section})
  foreach(page ${pages})
    get_filename_component(name ${page} NAME)
    aragora_install_compressed(${page} ${name}.gz ${CMAKE_INSTALL_MANDIR}/man${section})
  endforeach()
endforeach()
file(GLOB units ${CMAKE_SOURCE_DIR}/systemd/*.service ${CMAKE_SOURCE_DIR}/systemd/*.timer ${CMAKE_SOURCE_DIR}/systemd/*.socket)
install(FILES ${units} DESTINATION lib/systemd/system)
install(FILES ${CMAKE_SOURCE_DIR}/systemd/aragora.sysusers DESTINATION lib/sysusers.d RENAME aragora.conf)
install(FILES ${CMAKE_SOURCE_DIR}/systemd/aragora.tmpfiles DESTINATION lib/tmpfiles.d RENAME aragora.conf)
install(FILES ${CMAKE_SOURCE_DIR}/share/aragora/models.toml DESTINATION ${CMAKE_INSTALL_DATADIR}/aragora)
# Alerts and boxes of the checklist name these pages; those who were woken read them where they are, so nothing is compressed.
install(FILES ${CMAKE_SOURCE_DIR}/docs/aragora.toml.example ${CMAKE_SOURCE_DIR}/docs/metrics.md ${CMAKE_SOURCE_DIR}/docs/releases.md
  ${CMAKE_SOURCE_DIR}/docs/security.md ${CMAKE_SOURCE_DIR}/docs/slo.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/runbooks DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
# What runs beside the daemon, or around it, to be copied from.
foreach(part caddy certbot docker grafana haproxy kubernetes nginx prometheus)
  if(NOT IS_DIRECTORY ${CMAKE_SOURCE_DIR}/deploy/${part})
    continue()
  endif()
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/deploy/${part} DESTINATION ${CMAKE_INSTALL_DATADIR}/aragora/deploy USE_SOURCE_PERMISSIONS)
endforeach()
install(DIRECTORY ${CMAKE_SOURCE_DIR}/deploy/systemd/backup-user DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
# Where bash-completion, Debian's zsh and fish look.
install(FILES ${CMAKE_BINARY_DIR}/completions/aragora DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${CMAKE_BINARY_DIR}/completions/_aragora DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${CMAKE_BINARY_DIR}/completions/aragora.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
