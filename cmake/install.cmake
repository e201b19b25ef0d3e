# What `cmake --install build/release --prefix PREFIX` copies, and what packages hold (cmake/package.cmake), in three
# parts:
#   runtime  the program, the library, plug-in devices, the models and scripts that ship with the project
#   dev      headers, the archive, what find_package and pkg-config read
#   lua      the module that a LuaJIT loads, the declarations that editors read
# Plug-ins lie beside each other in LIBDIR/perilune, where program and library look; the stdlib is inside the library.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(plugin_folder "${CMAKE_INSTALL_LIBDIR}/perilune")
set(data_folder "${CMAKE_INSTALL_DATADIR}/perilune")
file(RELATIVE_PATH plugins_from_program "/prefix/${CMAKE_INSTALL_BINDIR}" "/prefix/${plugin_folder}")
set_source_files_properties(engine/device/plugin_device.cpp PROPERTIES
                            COMPILE_DEFINITIONS "PERILUNE_PLUGIN_FOLDER=\"${plugins_from_program}\"")

if(TARGET perilune)
  install(TARGETS perilune RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime)
endif()
install(TARGETS perilune_shared EXPORT perilune
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT dev)
foreach(plugin perilune_emulator perilune_cuda)
  if(TARGET ${plugin})
    install(TARGETS ${plugin} LIBRARY DESTINATION "${plugin_folder}" COMPONENT runtime)
  endif()
endforeach()
install(DIRECTORY scripts/models scripts/pipelines DESTINATION "${data_folder}/scripts"
        COMPONENT runtime)
foreach(script attention_map my_policy quickstart serve_many)
  install(FILES scripts/${script}.lua DESTINATION "${data_folder}/scripts" COMPONENT runtime)
endforeach()
install(FILES README.md LICENSE docs/reference.md DESTINATION "${CMAKE_INSTALL_DOCDIR}"
        COMPONENT runtime)

install(TARGETS perilune_static EXPORT perilune
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT dev)
install(FILES bindings/c/perilune.h bindings/c/perilune.hpp
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT dev)
install(FILES bindings/lua/host/module.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        RENAME perilune_lua.h COMPONENT dev)
set_target_properties(perilune_shared PROPERTIES EXPORT_NAME perilune)
install(EXPORT perilune NAMESPACE perilune:: FILE perilune-targets.cmake
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/perilune" COMPONENT dev)
configure_package_config_file(cmake/package/perilune-config.cmake.in
                              "${CMAKE_BINARY_DIR}/package/perilune-config.cmake"
                              INSTALL_DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/perilune")
write_basic_package_version_file("${CMAKE_BINARY_DIR}/package/perilune-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH PERILUNE_PREFIX_FROM_PC "/${CMAKE_INSTALL_LIBDIR}" "/")
configure_file(cmake/package/perilune.pc.in "${CMAKE_BINARY_DIR}/package/perilune.pc" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/package/perilune-config.cmake"
              "${CMAKE_BINARY_DIR}/package/perilune-config-version.cmake"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/perilune" COMPONENT dev)
install(FILES "${CMAKE_BINARY_DIR}/package/perilune.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT dev)

install(TARGETS perilune_module LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/lua/5.1" COMPONENT lua)
install(DIRECTORY stdlib/perilune/types/ DESTINATION "${data_folder}/types" COMPONENT lua
        FILES_MATCHING PATTERN "*.lua")

include(package)
