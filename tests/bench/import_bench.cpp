// How fast a recording becomes journeys in memory, beside what others do with the same file: libtracecmd's own
// walk, KernelShark's library merely loading it, `trace-cmd report`. Each runs in a process of its own, so that
// memory can be told apart, in turns (A B C D, A B C D, …), because only ratios taken in one go mean anything.
//
//   import_bench TRACE.dat [ROUNDS [NAME]…]      only the import and those with a NAME in theirs, "libkshark"
//                                                ROUNDS 0: one import in this very process, for a profiler

#include "capture/import.h"
#include "capture/trace_dat.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ctime>
#include <unistd.h>
#include <vector>

extern "C" {
#include <event-parse.h>

// Of trace-cmd.h, which no C++ compiler takes.
struct tracecmd_input;
tracecmd_input* tracecmd_open(const char* file, int flags);
void tracecmd_close(tracecmd_input* handle);
int tracecmd_cpus(tracecmd_input* handle);
tep_record* tracecmd_read_data(tracecmd_input* handle, int cpu);
void tracecmd_free_record(tep_record* record);

#ifdef SKBSCOPE_HAS_KSHARK
// Of libkshark.h, which is C only. Two functions and two opaque types are all that loading takes.
struct kshark_context;
struct kshark_entry;
bool kshark_instance(kshark_context** context);
int kshark_open(kshark_context* context, const char* file);
ssize_t kshark_load_entries(kshark_context* context, int stream, kshark_entry*** entries);
#endif
}

namespace {

using namespace skbscope;

struct Outcome {
    double cpu_seconds = 0; ///< the kernel's included, of all threads
    double seconds = 0;     ///< on the clock
    std::uint64_t records = 0;
    std::uint64_t held_bytes = 0; ///< memory of its own (not the file's pages) when done
    std::uint64_t peak_bytes = 0; ///< the most that was resident at any time, shared pages and all
};

std::uint64_t status_bytes(std::string_view key)
{
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(key)) {
            return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
        }
    }
    return 0;
}

/// A hypervisor may take back what its guest has freed, and pages that it has to give again cost many times what clearing
/// them does. So that this is nobody's luck, each contender begins with memory that was in use a moment ago.
void warm_memory()
{
    constexpr std::size_t bytes = std::size_t{1} << 30;
    const pid_t child = fork();
    if (child == 0) {
        auto* memory = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (memory != MAP_FAILED) {
            (void)madvise(memory, bytes, MADV_HUGEPAGE);
            for (std::size_t at = 0; at < bytes; at += 4096) {
                memory[at] = 1;
            }
        }
        std::_Exit(0);
    }
    (void)waitpid(child, nullptr, 0);
}

/// Runs `work`, which returns the number of records, in a child.
Outcome in_a_child(const std::function<std::uint64_t()>& work)
{
    warm_memory();
    auto* shared = static_cast<Outcome*>(
        mmap(nullptr, sizeof(Outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const auto start = std::chrono::steady_clock::now();
    const pid_t child = fork();
    if (child == 0) {
        shared->records = work();
        shared->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        shared->held_bytes = status_bytes("RssAnon:");
        std::_Exit(0);
    }
    int status = 0;
    rusage usage{};
    (void)wait4(child, &status, 0, &usage);
    Outcome outcome = *shared;
    const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
    outcome.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    outcome.peak_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
    munmap(shared, sizeof(Outcome));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        outcome.records = 0;
    }
    return outcome;
}

std::uint64_t import(const std::string& path)
{
    // Never given back: neither does loading in the other libraries include freeing.
    const auto& imported = *new auto(import_trace_dat(path));
    if (!imported) {
        fmt::print(stderr, "{}\n", imported.error().describe());
        std::_Exit(1);
    }
    return imported->records;
}

std::uint64_t only_read(const std::string& path)
{
    const auto file = TraceDat::open(path);
    std::uint64_t records = 0;
    std::uint64_t sum = 0;
    file->for_each([&](const RawRecord& record) {
        ++records;
        sum += record.time_ns;
    });
    return sum != 0 ? records : 0;
}

/// The whole file in time order, as trace-cmd's own tools walk it.
std::uint64_t walk_with_libtracecmd(const std::string& path)
{
    tracecmd_input* handle = tracecmd_open(path.c_str(), 0);
    std::vector<std::pair<int, tep_record*>> heads;
    for (int cpu = 0; cpu < tracecmd_cpus(handle); ++cpu) {
        if (tep_record* record = tracecmd_read_data(handle, cpu)) {
            heads.emplace_back(cpu, record);
        }
    }
    std::uint64_t records = 0;
    while (!heads.empty()) {
        const auto first =
            std::ranges::min_element(heads, {}, [](const auto& head) { return head.second->ts; });
        ++records;
        tracecmd_free_record(first->second);
        first->second = tracecmd_read_data(handle, first->first);
        if (first->second == nullptr) {
            heads.erase(first);
        }
    }
    return records;
}

#ifdef SKBSCOPE_HAS_KSHARK
std::uint64_t load_with_kshark(const std::string& path)
{
    kshark_context* context = nullptr;
    kshark_entry** entries = nullptr;
    if (!kshark_instance(&context)) {
        std::_Exit(1);
    }
    const int stream = kshark_open(context, path.c_str());
    const ssize_t count = stream < 0 ? -1 : kshark_load_entries(context, stream, &entries);
    return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}
#endif

std::uint64_t report(const std::string& path)
{
    const pid_t child = fork();
    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execlp("trace-cmd", "trace-cmd", "report", path.c_str(), static_cast<char*>(nullptr));
        std::_Exit(127);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 1 : 0;
}

struct Contender {
    std::string name;
    std::function<std::uint64_t()> work;
    std::vector<double> seconds, cpu_seconds;
    Outcome last;
};

double median(std::vector<double> values)
{
    std::ranges::sort(values);
    return values[values.size() / 2];
}

/// Of those of one round: what makes one slow makes the others slow.
double median_ratio(const std::vector<double>& theirs, const std::vector<double>& ours)
{
    std::vector<double> ratios;
    for (std::size_t round = 0; round < std::min(theirs.size(), ours.size()); ++round) {
        ratios.push_back(theirs[round] / ours[round]);
    }
    return median(std::move(ratios));
}

} // namespace

int main(int argc, char** argv)
{
    if (argc < 2) {
        fmt::print(stderr, "usage: import_bench TRACE.dat [ROUNDS [NAME]...]\n");
        return 2;
    }
    const std::string path = argv[1];
    const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
    if (rounds <= 0) {
        warm_memory();
        const auto start = std::chrono::steady_clock::now();
        const std::uint64_t records = import(path);
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        timespec own{};
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
        fmt::print("{} records in {:.3f} s, {:.2f} M/s; this thread worked {:.3f} s of it\n", records, seconds,
                   static_cast<double>(records) / seconds / 1e6, static_cast<double>(own.tv_sec) + static_cast<double>(own.tv_nsec) / 1e9);
        return 0;
    }
    std::vector<Contender> all = {
        {"skbscope import", [&] { return import(path); }, {}, {}, {}},
#ifdef SKBSCOPE_HAS_KSHARK
        {"libkshark load", [&] { return load_with_kshark(path); }, {}, {}, {}},
#endif
        {"libtracecmd walk", [&] { return walk_with_libtracecmd(path); }, {}, {}, {}},
        {"trace-cmd report", [&] { return report(path); }, {}, {}, {}},
        {"skbscope pages only", [&] { return only_read(path); }, {}, {}, {}},
    };
    const std::vector<std::string> wanted(argv + std::min(argc, 3), argv + argc);
    std::erase_if(all, [&](const Contender& one) {
        return !wanted.empty() && one.name != "skbscope import" &&
               std::ranges::none_of(wanted, [&](const std::string& name) { return one.name.find(name) != std::string::npos; });
    });
    for (int round = 0; round < rounds; ++round) {
        for (Contender& one : all) {
            one.last = in_a_child(one.work);
            if (one.last.records == 0) {
                fmt::print("{}: failed\n", one.name);
                continue;
            }
            one.seconds.push_back(one.last.seconds);
            one.cpu_seconds.push_back(one.last.cpu_seconds);
        }
    }
    const std::uint64_t records = all.front().last.records;
    const Contender& ours = all.front();
    if (ours.seconds.empty()) {
        return 1;
    }
    fmt::print("{} records, {} rounds: median of each, and of the ratios within each round\n", records, rounds);
    fmt::print("{:<20} {:>8} {:>10} {:>10} {:>8} {:>10} {:>14} {:>8}\n", "", "seconds", "M rec/s", "import is", "CPU s", "import is",
               "B/record: held", "peak");
    for (const Contender& one : all) {
        if (one.seconds.empty()) {
            continue;
        }
        fmt::print("{:<20} {:>8.3f} {:>10.2f} {:>9.2f}x {:>8.3f} {:>9.2f}x {:>14.1f} {:>8.1f}\n", one.name, median(one.seconds),
                   static_cast<double>(records) / median(one.seconds) / 1e6, median_ratio(one.seconds, ours.seconds),
                   median(one.cpu_seconds), median_ratio(one.cpu_seconds, ours.cpu_seconds),
                   static_cast<double>(one.last.held_bytes) / static_cast<double>(records),
                   static_cast<double>(one.last.peak_bytes) / static_cast<double>(records));
    }
    return 0;
}
