# A room is a static library whose public headers are reached through an include directory of its own: build/include/<target>/ holds one
# link (`ir/base`, `codegen/questions.h`, ...) to the sources. Including a room that is not among the dependencies does not compile.
#
#   heddle_room(ir PATH ir SOURCES graph.cpp ... DEPENDS ir_base PRIVATE Boost::headers)
function(heddle_room name)
  cmake_parse_arguments(ARG "" "PATH" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  set(include_dir ${CMAKE_BINARY_DIR}/include/${name})
  get_filename_component(parent ${include_dir}/${ARG_PATH} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${ARG_PATH} ${include_dir}/${ARG_PATH} SYMBOLIC)
  if(ARG_SOURCES)
    add_library(heddle_${name} STATIC ${ARG_SOURCES})
    target_include_directories(heddle_${name} PUBLIC ${include_dir})
    target_link_libraries(heddle_${name} PUBLIC ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE})
    set_property(GLOBAL APPEND PROPERTY HEDDLE_LIBRARIES heddle_${name})
  else()
    add_library(heddle_${name} INTERFACE)
    target_include_directories(heddle_${name} INTERFACE ${include_dir})
    target_link_libraries(heddle_${name} INTERFACE ${ARG_DEPENDS})
  endif()
endfunction()

# One test program per room: heddle_test(ir SOURCES a_test.cpp DEPENDS heddle_ir). Tests may read the source tree and ../shared.
function(heddle_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(test_${name} ${ARG_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${ARG_DEPENDS} heddle_testing GTest::gtest_main GTest::gmock)
  gtest_discover_tests(test_${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST)
endfunction()
