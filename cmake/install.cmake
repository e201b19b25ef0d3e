# What `cmake --install build/release --prefix PREFIX` copies: the program, the library, plug-in
# devices (beside each other in LIBDIR/perilune, where program and library look), the declarations
# that editors read, README and licence. The stdlib is inside the library.

include(GNUInstallDirs)
set(plugin_folder "${CMAKE_INSTALL_LIBDIR}/perilune")
file(RELATIVE_PATH plugins_from_program "/prefix/${CMAKE_INSTALL_BINDIR}" "/prefix/${plugin_folder}")
set_source_files_properties(engine/device/plugin_device.cpp PROPERTIES
                            COMPILE_DEFINITIONS "PERILUNE_PLUGIN_FOLDER=\"${plugins_from_program}\"")

if(TARGET perilune)
  install(TARGETS perilune RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
install(TARGETS perilune_shared LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
foreach(plugin perilune_emulator perilune_cuda)
  if(TARGET ${plugin})
    install(TARGETS ${plugin} LIBRARY DESTINATION "${plugin_folder}")
  endif()
endforeach()
install(DIRECTORY stdlib/perilune/types/ DESTINATION "${CMAKE_INSTALL_DATADIR}/perilune/types"
        FILES_MATCHING PATTERN "*.lua")
install(FILES README.md LICENSE docs/reference.md DESTINATION "${CMAKE_INSTALL_DOCDIR}")
