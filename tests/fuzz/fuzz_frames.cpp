// libFuzzer's entry: clang++ -fsanitize=fuzzer,address,undefined. See README.md.

#include "tests/fuzz/frames.h"

#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static std::uint64_t frames = 0;
    const std::string wrong = skbscope::fuzz::run_frames({data, size}, frames);
    if (!wrong.empty()) {
        std::fprintf(stderr, "fuzz_frames: %s\n", wrong.c_str());
        std::abort();
    }
    return 0;
}
