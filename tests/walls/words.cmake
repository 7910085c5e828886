# cmake -DROOT=... -DTABLES=... -DLEAST=N -P words.cmake: the product files under ROOT (N at least) keep a few words to the rooms that may say
# them. A rule is what is wrong, a pattern, and the files that may hold it. Every breach is printed, and fails. TABLES: where ops.def is.
cmake_minimum_required(VERSION 3.25)
file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/codegen/*.cpp ${ROOT}/codegen/*.h ${ROOT}/frontends/*.cpp ${ROOT}/frontends/*.h
     ${ROOT}/ir/*.cpp ${ROOT}/ir/*.h ${ROOT}/passes/*.cpp ${ROOT}/passes/*.h ${ROOT}/runtime/*.cpp ${ROOT}/runtime/*.h ${ROOT}/tools/*.cpp
     ${ROOT}/tools/*.h)
list(LENGTH files count)
if(count LESS ${LEAST})
  message(FATAL_ERROR "only ${count} files under ${ROOT}: the test looks in the wrong place")
endif()
set(breaches "")

# PATTERN must not match a line outside of files that match ALLOWED; comments do not count.
function(rule what pattern allowed)
  foreach(file ${files})
    if(allowed AND file MATCHES "${allowed}")
      continue()
    endif()
    file(STRINGS ${ROOT}/${file} lines REGEX "${pattern}")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE "//.*" "" code "${line}")
      string(STRIP "${code}" code)
      if(code MATCHES "${pattern}")
        string(APPEND breaches "${file}: ${what}: ${code}\n")
      endif()
    endforeach()
  endforeach()
  set(breaches "${breaches}" PARENT_SCOPE)
endfunction()

# A type's or an op's name in quotes beside a comparison, on either side.
function(names_rule what names allowed)
  rule("${what}" "[!=]= *\"(${names})\"|\"(${names})\" *[!=]=|starts_with\\(\"(${names})" "${allowed}")
  set(breaches "${breaches}" PARENT_SCOPE)
endfunction()

rule("a target's name is cut apart, ask codegen::backend or runtime::device_factory"
     "\"cuda:(sm_)?\"|[!=]= *\"(cpu|cuda)\"|\"(cpu|cuda)\" *[!=]=|starts_with\\(\"(cpu|cuda)|target(\\.name)?\\.(find|substr|starts_with)\\(" "^ir/base/(target_name|cuda_card)\\.")
rule("generated types of the plan stay under runtime/plan" "plan_generated\\.h" "^runtime/plan/")

# Names come from the tables, so that new rows are watched too.
function(names_of table macro out)
  file(STRINGS ${TABLES}/${table} rows REGEX "^ *${macro}\\(")
  set(names "")
  foreach(row IN LISTS rows)
    string(REGEX REPLACE "^ *${macro}\\( *\"?([a-zA-Z0-9_]+).*" "\\1" name "${row}")
    list(APPEND names ${name})
  endforeach()
  list(LENGTH names found)
  if(found LESS 5)
    message(FATAL_ERROR "${table}: only ${found} rows of ${macro}")
  endif()
  list(JOIN names "|" names)
  set(${out} ${names} PARENT_SCOPE)
endfunction()
names_of(ir/ops.def "HEDDLE_OP" ops)
names_of(ir/base/dtype.def "HEDDLE_[A-Z_]+" dtypes)
# Beside readers of text: templates and tokenizers have words of their own, a plan's key has fields named "rope" and "quantize", and "f32" is
# what an option says; ir/op.cpp reads the attribute kinds of ops.def.
set(readers "^frontends/|^ir/text/|^runtime/plan/from_wire\\.cpp$")
names_rule("a dtype is compared by name, use DType" "${dtypes}" "${readers}|^ir/op\\.cpp$|^tools/compiler/targets\\.cpp$")
names_rule("an op is compared by name, use its row" "${ops}" "${readers}|^runtime/(jinja|text|chat)/|^tools/compiler/load_plan\\.cpp$")

if(breaches)
  message(NOTICE "${breaches}")  # an error would be broken into lines
  message(FATAL_ERROR "words stand where they may not")
endif()
message(STATUS "${count} files keep to it")
