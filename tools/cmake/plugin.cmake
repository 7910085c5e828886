# Pass plug-ins: shared libraries that add passes to a running heddle (passes/plugin.h).
#
#   heddle_plugin(my_passes my_passes.cpp)   # builds my_passes.so
#   heddle_plugin_host(program)              # lets `program` load plug-ins: it carries all of heddle's libraries and exports their symbols

# A plug-in finds heddle's functions in the program that loads it. What it needs of LLVM it brings along and keeps to itself.
function(heddle_plugin name)
  add_library(${name} MODULE ${ARGN})
  set_target_properties(${name} PROPERTIES PREFIX "" CXX_VISIBILITY_PRESET hidden)
  foreach(library heddle_ir_base heddle_ir heddle_passes)
    target_include_directories(${name} PRIVATE $<TARGET_PROPERTY:${library},INTERFACE_INCLUDE_DIRECTORIES>)
  endforeach()
  target_link_libraries(${name} PRIVATE heddle_abi_tag dep_llvm dep_fmt)
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL)
endfunction()

function(heddle_plugin_host program)
  foreach(library heddle_ir_base heddle_ir heddle_passes)
    list(APPEND archives $<TARGET_FILE:${library}>)
    add_dependencies(${program} ${library})
  endforeach()
  target_link_options(${program} PRIVATE -rdynamic -Wl,--whole-archive ${archives} -Wl,--no-whole-archive)
  target_link_libraries(${program} PRIVATE heddle_passes)
endfunction()
