#pragma once
#include <string>

#include "ir/base/error.h"
#include "runtime/device/device.h"
#include "tools/compiler/listener.h"

namespace heddle::tools {

/// A progress line on stderr ("uploading weights 43 %"), only where stderr is a terminal; the line is removed at the end.
runtime::Progress progress_line(std::string what);

/// Prints what the library says on stderr, and how far it is as progress_line does.
Listener console_listener();

/// "4.6 GB", "812 kB".
std::string human_bytes(std::uint64_t bytes);

/// Peak resident memory of this process in bytes.
std::uint64_t peak_memory();

/// `heddle: message` on stderr; the exit code for it.
int fail(const Error& error);

/// Ctrl-C sets a flag (asked for by `interrupted`); the second one ends the program.
void catch_interrupt();
bool interrupted();

/// Ctrl-C sets the flag every time, and a read that waits for input returns; forgets an earlier one.
void catch_interrupts();

}  // namespace heddle::tools
