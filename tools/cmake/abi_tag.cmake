# cmake -DHEADERS=... -DROOT=... -DCOMPILER=... -DOUT=... -P abi_tag.cmake
# Writes a header with the plug-in ABI tag: a hash of every header that a plug-in may include, and of the compiler. Not touched when the
# tag is the same.
set(all "${COMPILER}\n")
foreach(header ${HEADERS})
  file(SHA256 ${header} hash)
  file(RELATIVE_PATH name ${ROOT} ${header})
  string(APPEND all "${name} ${hash}\n")
endforeach()
string(SHA256 tag "${all}")
string(SUBSTRING ${tag} 0 12 tag)
set(text "#pragma once\n/// Hash of heddle's headers for plug-ins and of the compiler (tools/cmake/abi_tag.cmake).\n#define HEDDLE_ABI_TAG \"${tag}\"\n")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
