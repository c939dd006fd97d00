// For compilers without libFuzzer: makes inputs by itself, from a seed, until so many frames have been fed.
//   drive_frames FRAMES [SEED]      drive_frames FILE… (inputs that a fuzzer found)

#include "tests/fuzz/frames.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

namespace {

int complain(const std::vector<std::uint8_t>& input, const std::string& wrong, const std::string& seed)
{
    const std::string name = "crash-frames-" + seed + ".bin";
    std::FILE* file = std::fopen(name.c_str(), "wb");
    if (file != nullptr) {
        std::fwrite(input.data(), 1, input.size(), file);
        std::fclose(file);
    }
    std::fprintf(stderr, "drive_frames: %s (%s)\n", wrong.c_str(), name.c_str());
    return 1;
}

} // namespace

int main(int argc, char** argv)
{
    if (argc < 2) {
        std::fprintf(stderr, "drive_frames FRAMES [SEED] | FILE…\n");
        return 2;
    }
    std::uint64_t frames = 0;
    char* end = nullptr;
    const std::uint64_t wanted = std::strtoull(argv[1], &end, 10);
    if (*end != '\0') {
        for (int i = 1; i < argc; ++i) {
            std::ifstream file(argv[i], std::ios::binary);
            const std::vector<std::uint8_t> input((std::istreambuf_iterator<char>(file)), {});
            if (const auto wrong = skbscope::fuzz::run_frames(input, frames); !wrong.empty()) {
                return complain(input, wrong, "again");
            }
        }
        return 0;
    }
    std::mt19937_64 random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
    while (frames < wanted) {
        const std::vector<std::uint8_t> input = skbscope::fuzz::random_input(random);
        if (const auto wrong = skbscope::fuzz::run_frames(input, frames); !wrong.empty()) {
            return complain(input, wrong, argc > 2 ? argv[2] : "1");
        }
    }
    std::printf("seed %s: %llu frames, every account closed\n", argc > 2 ? argv[2] : "1", static_cast<unsigned long long>(frames));
    return 0;
}
