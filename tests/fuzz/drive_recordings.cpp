// Many broken recordings, from a seed.
//   drive_recordings COUNT [SEED [FILE…]]      FILE: further recordings to begin from, trace.dat or pcap
//   drive_recordings FILE                      one that was found (crash-recording.bin)

#include "tests/fuzz/recordings.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sys/resource.h>

namespace {

using namespace skbscope::fuzz;

Recording from_file(const char* path)
{
    std::ifstream file(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    const bool is_trace = bytes.compare(0, 3, "\x17\x08\x44") == 0;
    return {path, is_trace ? RecordingKind::trace_dat : RecordingKind::pcap, std::move(bytes)};
}

void keep(const std::string& bytes)
{
    std::ofstream("crash-recording.bin", std::ios::binary) << bytes;
}

} // namespace

int main(int argc, char** argv)
{
    if (argc < 2) {
        std::fprintf(stderr, "drive_recordings COUNT [SEED [FILE…]] | FILE\n");
        return 2;
    }
    char* end = nullptr;
    const std::uint64_t wanted = std::strtoull(argv[1], &end, 10);
    std::uint64_t kept = 0;
    if (*end != '\0') {
        const Recording one = from_file(argv[1]);
        const std::string wrong = import_any(one.kind, one.bytes, kept);
        std::printf("%s: %s\n", argv[1], wrong.empty() ? "well" : wrong.c_str());
        return wrong.empty() ? 0 : 1;
    }
    std::vector<Recording> wholes = whole_recordings();
    for (int i = 3; i < argc; ++i) {
        wholes.push_back(from_file(argv[i]));
    }
    std::mt19937_64 random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
    for (std::uint64_t i = 0; i < wanted; ++i) {
        const Recording& one = wholes[random() % wholes.size()];
        const std::string bytes = broken(one.bytes, random);
        keep(bytes); // before: a crash leaves it behind
        if (const std::string wrong = import_any(one.kind, bytes, kept); !wrong.empty()) {
            std::fprintf(stderr, "drive_recordings: %s (crash-recording.bin, from %s)\n", wrong.c_str(), one.name.c_str());
            return 1;
        }
    }
    rusage usage{};
    (void)getrusage(RUSAGE_SELF, &usage);
    std::printf("%llu recordings, %llu of them read, the others refused in one line; at most %ld MiB resident\n",
                static_cast<unsigned long long>(wanted), static_cast<unsigned long long>(kept), usage.ru_maxrss / 1024);
    return 0;
}
