# Packages, of the preset `package`, whose prefix is /usr: `cpack --config build/package/CPackConfig.cmake` makes the
# .deb files, `cpack --config build/package/CPackSourceConfig.cmake` the source's tarball.

set(CPACK_PACKAGE_NAME perilune)
set(CPACK_PACKAGE_VENDOR "Perilune")
set(CPACK_PACKAGE_CONTACT "Perilune <perilune@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL runtime dev lua)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${CMAKE_BINARY_DIR}")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME perilune)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS libluajit-5.1-2)  # opened, not linked
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "${PROJECT_DESCRIPTION} (program and library)
 The program and the library: classifies, embeds and writes text with models of
 many families, on the processor or on a GPU. Two small models are part of it.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME perilune-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "perilune (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEV_DESCRIPTION "${PROJECT_DESCRIPTION} (headers)
 What games and tools are built with that embed Perilune: perilune.h,
 perilune.hpp, the archive, and what CMake and pkg-config read.")
set(CPACK_DEBIAN_LUA_PACKAGE_NAME perilune-lua)
set(CPACK_DEBIAN_LUA_PACKAGE_SECTION interpreters)
set(CPACK_DEBIAN_LUA_PACKAGE_DEPENDS "perilune (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_LUA_DESCRIPTION "${PROJECT_DESCRIPTION} (LuaJIT module)
 Lets a LuaJIT that is there already, such as Neovim's, require Perilune; with
 declarations for editors that read LuaCATS annotations.")

# What Debian asks of every package. CPack's own way to shlibs calls ldconfig from scripts; a trigger is asked for.
file(WRITE "${CMAKE_BINARY_DIR}/package/shlibs"
     "libperilune ${PROJECT_VERSION_MAJOR} perilune (>= ${PROJECT_VERSION})\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA "${CMAKE_BINARY_DIR}/package/shlibs"
                                               "${CMAKE_SOURCE_DIR}/cmake/package/triggers")
find_program(PERILUNE_GZIP gzip)
mark_as_advanced(PERILUNE_GZIP)
if(PERILUNE_GZIP)
  foreach(page changelog perilune.1)
    execute_process(COMMAND "${PERILUNE_GZIP}" -9nc "${CMAKE_SOURCE_DIR}/cmake/package/${page}"
                    OUTPUT_FILE "${CMAKE_BINARY_DIR}/package/${page}.gz")
  endforeach()
  install(FILES "${CMAKE_BINARY_DIR}/package/perilune.1.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1"
          COMPONENT runtime)
  foreach(component ${CPACK_COMPONENTS_ALL})
    string(TOUPPER ${component} upper)
    set(package ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
    install(FILES cmake/package/copyright "${CMAKE_BINARY_DIR}/package/changelog.gz"
            DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${package}" COMPONENT ${component})
    install(FILES cmake/package/${package}.lintian-overrides
            DESTINATION "${CMAKE_INSTALL_DATADIR}/lintian/overrides" RENAME ${package}
            COMPONENT ${component})
  endforeach()
endif()

set(CPACK_SOURCE_GENERATOR TGZ)
set(CPACK_SOURCE_PACKAGE_FILE_NAME "perilune-${PROJECT_VERSION}")
set(CPACK_SOURCE_IGNORE_FILES "/\\\\.git/;/build/;/shared$;/\\\\.cache/")
include(CPack)
