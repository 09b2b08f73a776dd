# `cpack -G DEB` makes aragora_VERSION_amd64.deb of what `cmake --install` installs and of deploy/debian. Whoever builds it
# twice from the same sources gets the same bytes: scripts/package.
set(packaging ${CMAKE_SOURCE_DIR}/deploy/debian)

# Beside what every installation has (Debian policy 12.5, 12.7).
configure_file(${packaging}/changelog.in ${CMAKE_BINARY_DIR}/debian/changelog @ONLY)
aragora_install_compressed(${CMAKE_BINARY_DIR}/debian/changelog changelog.gz ${CMAKE_INSTALL_DOCDIR})
aragora_install_compressed(${CMAKE_SOURCE_DIR}/CHANGELOG.md NEWS.gz ${CMAKE_INSTALL_DOCDIR})
install(FILES ${packaging}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${packaging}/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME aragora)
install(FILES ${packaging}/default DESTINATION /etc/default RENAME aragora)

get_property(compressed GLOBAL PROPERTY aragora_compressed)
add_custom_target(compressed ALL DEPENDS ${compressed})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME aragora)
set(CPACK_PACKAGE_CONTACT "Aragora developers <developers@aragora.example>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS systemd)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "postgresql-client-15, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql, redis-server, age, zstd")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "production deployment checklist as commands, and its daemon")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Aragora runs structured debates between agents behind an HTTP and WebSocket
API, and comes with the commands that look after such a service: a check of
the whole configuration at once, migrations, backups that are proved by
restoring them, recovery to a moment, and rehearsals of it.

The daemon is not started before its configuration holds.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${packaging}/conffiles ${packaging}/postinst ${packaging}/prerm ${packaging}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION TRUE)
include(CPack)
