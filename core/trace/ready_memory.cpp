#include "core/trace/ready_memory.h"

#include <cstdlib>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <vector>

namespace skbscope::ready_memory {

namespace {

struct Ready {
    std::mutex lock;
    std::vector<void*> chunks;
};

Ready& ready()
{
    static Ready all;
    return all;
}

/// A chunk is one huge page: fresh memory then costs one page fault instead of 512. The advice may be refused; the
/// memory is good all the same.
void* fresh()
{
    void* memory = std::aligned_alloc(chunk_bytes, chunk_bytes);
    if (memory != nullptr) {
        (void)madvise(memory, chunk_bytes, MADV_HUGEPAGE);
    }
    return memory;
}

} // namespace

void make_ready(std::size_t most)
{
    Ready& all = ready();
    {
        const std::lock_guard guard(all.lock);
        if (all.chunks.size() >= most) {
            return;
        }
    }
    void* memory = fresh();
    if (memory == nullptr) {
        return;
    }
    constexpr std::size_t page = 4096;
    for (std::size_t at = 0; at < chunk_bytes; at += page) {
        static_cast<volatile char*>(memory)[at] = 0;
    }
    const std::lock_guard guard(all.lock);
    all.chunks.push_back(memory);
}

void* take()
{
    Ready& all = ready();
    {
        const std::lock_guard guard(all.lock);
        if (!all.chunks.empty()) {
            void* memory = all.chunks.back();
            all.chunks.pop_back();
            return memory;
        }
    }
    void* memory = fresh();
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

void let_go()
{
    std::vector<void*> chunks;
    {
        Ready& all = ready();
        const std::lock_guard guard(all.lock);
        chunks.swap(all.chunks);
    }
    for (void* memory : chunks) {
        std::free(memory);
    }
}

} // namespace skbscope::ready_memory
