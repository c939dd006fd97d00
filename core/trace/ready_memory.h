#pragma once
// Memory for chunks of events that the kernel has already handed out and cleared. For a trace that grows by hundreds of
// megabytes a second that is a third of the work, and another thread can do it ahead. Shared by all traces of the
// program; every function may be called from any thread.

#include <cstddef>

namespace skbscope::ready_memory {

/// A chunk is as large and as aligned as a huge page.
inline constexpr std::size_t chunk_bytes = std::size_t{2} << 20;

/// Makes one more chunk ready, unless so many are. Takes as long as the kernel takes to clear it. Without memory it does
/// nothing: whoever needs it will be told.
void make_ready(std::size_t most);
/// A chunk that is ready, or a fresh one; free() gives it back. Throws std::bad_alloc.
[[nodiscard]] void* take();
/// Gives back what is ready and was not taken.
void let_go();

} // namespace skbscope::ready_memory
