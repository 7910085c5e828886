// A plug-in compiled, as it says, against other headers.
extern "C" {
__attribute__((visibility("default"))) extern const char* const heddle_plugin_abi;
const char* const heddle_plugin_abi = "1a2b";
}
