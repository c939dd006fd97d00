#include "capture/ring_pages.h"

#include "capture/trace_dat.h"
#include "tests/capture/recordings.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <random>

extern "C" {
#include <event-parse.h>
#include <kbuffer.h>

// Of trace-cmd.h, which no C++ compiler takes: it includes tracefs.h, where an int becomes an enum.
struct tracecmd_input;
tracecmd_input* tracecmd_open(const char* file, int flags);
void tracecmd_close(tracecmd_input* handle);
tep_record* tracecmd_read_data(tracecmd_input* handle, int cpu);
void tracecmd_free_record(tep_record* record);
tep_handle* tracecmd_get_tep(tracecmd_input* handle);

// The oracle's library does not free some strings that it reads with scanf("%m…"); nothing of this project reads so.
const char* __lsan_default_suppressions() // NOLINT(bugprone-reserved-identifier): the sanitizer's name
{
    return "leak:vsscanf";
}
}

namespace skbscope {
namespace {

using Page = std::vector<std::uint8_t>;

/// A page of the ring buffer, written event by event.
class PageBuilder {
public:
    explicit PageBuilder(std::uint64_t time) : time_(time) {}

    PageBuilder& word(std::uint32_t value)
    {
        const auto* raw = reinterpret_cast<const std::uint8_t*>(&value);
        events_.insert(events_.end(), raw, raw + 4);
        return *this;
    }
    PageBuilder& event(std::uint32_t delta, std::uint16_t id, std::size_t words)
    {
        word(static_cast<std::uint32_t>(words) | delta << 5);
        return body(id, words);
    }
    PageBuilder& long_event(std::uint32_t delta, std::uint16_t id, std::size_t words)
    {
        word(delta << 5).word(static_cast<std::uint32_t>(words) * 4 + 4);
        return body(id, words);
    }
    PageBuilder& body(std::uint16_t id, std::size_t words)
    {
        for (std::size_t i = 0; i < words; ++i) {
            word(i == 0 ? id : static_cast<std::uint32_t>(i));
        }
        return *this;
    }
    [[nodiscard]] Page page(std::uint64_t flags = 0, std::uint64_t lost = 0, std::size_t size = 4096) const
    {
        Page page(size, 0);
        const std::uint64_t commit = events_.size() | flags;
        std::memcpy(page.data(), &time_, 8);
        std::memcpy(page.data() + 8, &commit, 8);
        std::copy_n(events_.begin(), std::min(events_.size(), size - 16), page.begin() + 16);
        if (lost != 0) {
            std::memcpy(page.data() + 16 + events_.size(), &lost, 8);
        }
        return page;
    }

private:
    std::uint64_t time_;
    Page events_;
};

struct Seen {
    std::uint64_t time;
    std::uint16_t id;
    std::size_t size;
    bool operator==(const Seen&) const = default;
};
void PrintTo(const Seen& seen, std::ostream* out)
{
    *out << fmt::format("{} at {} with {} bytes", seen.id, seen.time, seen.size);
}

std::vector<Seen> walk(RingPages& pages)
{
    std::vector<Seen> seen;
    RawRecord record;
    while (pages.next(record)) {
        seen.push_back({record.time_ns, record.event_id, record.data.size()});
    }
    return seen;
}

TEST(RingPages, EveryKindOfEventMovesTimeAsTheKernelMeansIt)
{
    PageBuilder builder(1000);
    builder.event(5, 1, 3);                                   // 1005
    builder.word(30 | 7U << 5).word(2);                       // + 2 * 2^27 + 7
    builder.event(1, 2, 2);                                   // + 1
    builder.word(29 | 10U << 5).word(8).word(0);              // a discarded event: + 10, and its 8 bytes
    builder.long_event(4, 3, 40);                             // + 4
    const std::uint64_t absolute = (std::uint64_t{1} << 40) + 3;
    builder.word(31 | static_cast<std::uint32_t>(absolute & 0x7ffffff) << 5)
        .word(static_cast<std::uint32_t>(absolute >> 27));    // that time, whatever was before
    builder.event(2, 4, 2);
    builder.word(29).event(1, 9, 3);                          // nothing follows

    const Page page = builder.page();
    RingPages pages(3);
    ASSERT_TRUE(pages.load(page));
    const std::uint64_t extended = 1005 + (2ULL << 27) + 8;
    EXPECT_THAT(walk(pages), ::testing::ElementsAre(Seen{1005, 1, 12}, Seen{extended, 2, 8},
                                                    Seen{extended + 14, 3, 160}, Seen{absolute + 2, 4, 8}));
    EXPECT_EQ(pages.broken_pages(), 0U);
}

TEST(RingPages, LossIsToldWithTheFirstRecordBehindIt)
{
    RingPages pages(0);
    RawRecord record;
    const Page counted = PageBuilder(10).event(1, 1, 2).event(1, 2, 2).page(3ULL << 30, 17);
    ASSERT_TRUE(pages.load(counted));
    ASSERT_TRUE(pages.next(record));
    EXPECT_EQ(record.lost_before, 17U);
    ASSERT_TRUE(pages.next(record));
    EXPECT_EQ(record.lost_before, 0U);

    const Page not_counted = PageBuilder(20).event(1, 1, 2).page(2ULL << 30);
    ASSERT_TRUE(pages.load(not_counted));
    ASSERT_TRUE(pages.next(record));
    EXPECT_EQ(record.lost_before, RawRecord::unknown_loss);
}

TEST(RingPages, ALossOnAPageWithoutRecordsIsToldOnTheNext)
{
    RingPages pages(0);
    RawRecord record;
    const Page empty = PageBuilder(10).page(3ULL << 30, 5);
    const Page next = PageBuilder(20).event(1, 1, 2).page(3ULL << 30, 2);
    ASSERT_TRUE(pages.load(empty));
    EXPECT_FALSE(pages.next(record));
    ASSERT_TRUE(pages.load(next));
    ASSERT_TRUE(pages.next(record));
    EXPECT_EQ(record.lost_before, 7U);
}

TEST(RingPages, WhatStandsBeforeADamagedLengthIsKeptAndTheRestCountsAsLost)
{
    const std::uint32_t backwards = 0xfffffffc; // as a signed length: minus four, for ever
    const std::map<std::string, Page> damaged = {
        {"an event longer than the page", PageBuilder(10).event(1, 1, 2).word(28 | 1U << 5).page()},
        {"a long event", PageBuilder(10).event(1, 1, 2).word(1U << 5).word(0x7ffffff0).page()},
        {"a discarded event", PageBuilder(10).event(1, 1, 2).word(29 | 1U << 5).word(backwards).page()},
        {"nothing behind a time extension", PageBuilder(10).event(1, 1, 2).word(30 | 1U << 5).page()},
    };
    for (const auto& [what, page] : damaged) {
        RingPages pages(0);
        ASSERT_TRUE(pages.load(page)) << what;
        EXPECT_THAT(walk(pages), ::testing::ElementsAre(Seen{11, 1, 8})) << what;
        EXPECT_EQ(pages.broken_pages(), 1U) << what;
        const Page next = PageBuilder(50).event(1, 2, 2).page();
        RawRecord record;
        ASSERT_TRUE(pages.load(next));
        ASSERT_TRUE(pages.next(record));
        EXPECT_EQ(record.lost_before, RawRecord::unknown_loss) << what;
    }
}

TEST(RingPages, APageThatClaimsMoreThanItHoldsIsRefused)
{
    RingPages pages(0);
    Page page = PageBuilder(10).event(1, 1, 2).page();
    const std::uint64_t commit = 4096;
    std::memcpy(page.data() + 8, &commit, 8);
    EXPECT_FALSE(pages.load(page));
    EXPECT_FALSE(pages.load(std::span(page).first(8)));
    RawRecord record;
    EXPECT_FALSE(pages.next(record));
    EXPECT_EQ(pages.broken_pages(), 2U);
}

TEST(RingPages, TimeOfOneCpuNeverRunsBackwards)
{
    RingPages pages(0);
    const Page late = PageBuilder(1000).event(1, 1, 2).page();
    const Page early = PageBuilder(10).event(1, 2, 2).page();
    ASSERT_TRUE(pages.load(late));
    EXPECT_THAT(walk(pages), ::testing::ElementsAre(Seen{1001, 1, 8}));
    ASSERT_TRUE(pages.load(early));
    EXPECT_THAT(walk(pages), ::testing::ElementsAre(Seen{1001, 2, 8}));
}

TEST(RingPages, RandomBytesEnd)
{
    std::mt19937 random(3);
    for (int round = 0; round < 2000; ++round) {
        Page page(16 + random() % 400);
        for (auto& byte : page) {
            byte = static_cast<std::uint8_t>(random());
        }
        const std::uint64_t commit = (page.size() - 16) | (std::uint64_t{random() % 4} << 30);
        std::memcpy(page.data() + 8, &commit, 8);
        RingPages pages(0);
        (void)pages.load(page);
        EXPECT_LE(walk(pages).size(), page.size() / 12);
    }
}

/// libtraceevent's own walk of a whole page.
std::vector<Seen> walk_with_kbuffer(Page page)
{
    std::vector<Seen> seen;
    kbuffer* buffer = kbuffer_alloc(KBUFFER_LSIZE_8, KBUFFER_ENDIAN_LITTLE);
    unsigned long long time = 0;
    EXPECT_EQ(kbuffer_load_subbuffer(buffer, page.data()), 0);
    for (void* data = kbuffer_read_event(buffer, &time); data != nullptr;
         data = kbuffer_next_event(buffer, &time)) {
        std::uint16_t id = 0;
        std::memcpy(&id, data, 2);
        seen.push_back({time, id, static_cast<std::size_t>(kbuffer_event_size(buffer))});
    }
    kbuffer_free(buffer);
    return seen;
}

TEST(RingPages, AgreeWithKbufferOnPagesOfAllKindsOfEvents)
{
    std::mt19937 random(5);
    for (int round = 0; round < 500; ++round) {
        PageBuilder builder(1'000'000 + random());
        for (int i = 0; i < 20; ++i) {
            switch (random() % 5) {
            case 0:
                builder.word(30 | (random() % 1000) << 5).word(random() % 50);
                break;
            case 1:
                builder.word(29 | (1 + random() % 1000) << 5).word(8).word(0);
                break;
            case 2:
                builder.long_event(random() % 1000, static_cast<std::uint16_t>(random()), 2 + random() % 40);
                break;
            default:
                builder.event(random() % 1000, static_cast<std::uint16_t>(random()), 2 + random() % 26);
                break;
            }
        }
        const Page page = builder.page(0, 0, 8192);
        RingPages pages(0);
        ASSERT_TRUE(pages.load(page));
        EXPECT_EQ(walk(pages), walk_with_kbuffer(page)) << "round " << round;
    }
}

class EachRecording : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(EachRecording, HoldsTheRecordsThatLibtracecmdReadsByteForByte)
{
    const std::string path = (GetParam() / "trace.dat").string();
    const auto file = TraceDat::open(path);
    ASSERT_TRUE(file) << file.error().describe();
    std::unique_ptr<tracecmd_input, void (*)(tracecmd_input*)> oracle(tracecmd_open(path.c_str(), 0),
                                                                      tracecmd_close);
    ASSERT_NE(oracle, nullptr);
    std::size_t compared = 0;
    file->for_each([&](const RawRecord& record) {
        tep_record* told = tracecmd_read_data(oracle.get(), record.cpu);
        ASSERT_NE(told, nullptr) << "record " << compared << " of CPU " << record.cpu;
        ASSERT_EQ(record.time_ns, told->ts) << "record " << compared;
        ASSERT_EQ(record.data.size(), static_cast<std::size_t>(told->size)) << "record " << compared;
        ASSERT_EQ(std::memcmp(record.data.data(), told->data, record.data.size()), 0) << "record " << compared;
        const std::uint64_t lost =
            told->missed_events < 0 ? RawRecord::unknown_loss : static_cast<std::uint64_t>(told->missed_events);
        EXPECT_EQ(record.lost_before, lost) << "record " << compared;
        tracecmd_free_record(told);
        ++compared;
    });
    EXPECT_GT(compared, 100U);
    for (int cpu = 0; cpu < file->kernel().cpus; ++cpu) {
        tep_record* more = tracecmd_read_data(oracle.get(), cpu);
        EXPECT_EQ(more, nullptr) << "CPU " << cpu << " has records that were not read";
        if (more != nullptr) {
            tracecmd_free_record(more);
        }
    }
}

/// Fields taken by the accessors, against libtraceevent's parser of the same formats.
TEST_P(EachRecording, FieldsAreThoseOfLibtraceevent)
{
    const std::string path = (GetParam() / "trace.dat").string();
    const auto file = TraceDat::open(path);
    ASSERT_TRUE(file) << file.error().describe();
    std::unique_ptr<tracecmd_input, void (*)(tracecmd_input*)> oracle(tracecmd_open(path.c_str(), 0),
                                                                      tracecmd_close);
    ASSERT_NE(oracle, nullptr);
    tep_handle* parser = tracecmd_get_tep(oracle.get());
    std::map<int, int> seen;
    std::size_t compared = 0;
    file->for_each([&](const RawRecord& record) {
        if (++seen[record.event_id] > 20) { // a few of each kind
            return;
        }
        const EventFormat* format = file->kernel().format(record.event_id);
        tep_event* event = tep_find_event(parser, record.event_id);
        ASSERT_NE(format, nullptr);
        ASSERT_NE(event, nullptr);
        EXPECT_EQ(format->name, event->name);
        EXPECT_EQ(format->system, event->system);
        Page copy(record.data.begin(), record.data.end());
        for (tep_format_field* field = event->format.fields; field != nullptr; field = field->next) {
            const EventField ours = format->field(field->name);
            ASSERT_TRUE(ours) << format->name << "." << field->name;
            if ((field->flags & (TEP_FIELD_IS_ARRAY | TEP_FIELD_IS_DYNAMIC)) != 0) {
                EXPECT_EQ(ours.is_data_loc, (field->flags & TEP_FIELD_IS_DYNAMIC) != 0) << field->name;
                if ((field->flags & TEP_FIELD_IS_STRING) != 0) {
                    tep_record whole{};
                    whole.data = copy.data();
                    whole.size = static_cast<int>(copy.size());
                    int length = 0;
                    const auto* text = static_cast<const char*>(
                        tep_get_field_raw(nullptr, event, field->name, &whole, &length, 0));
                    ASSERT_NE(text, nullptr);
                    EXPECT_EQ(ours.text(record.data),
                              std::string_view(text, strnlen(text, static_cast<std::size_t>(length))));
                }
                continue;
            }
            unsigned long long value = 0;
            if (tep_read_number_field(field, copy.data(), &value) == 0) {
                // The parser leaves the sign to whoever prints the value.
                const unsigned bits = static_cast<unsigned>(field->size) * 8;
                const std::uint64_t mask = bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
                EXPECT_EQ(ours.read(record.data) & mask, value & mask) << format->name << "." << field->name;
                ++compared;
            }
        }
    });
    EXPECT_GT(compared, 20U);
}

INSTANTIATE_TEST_SUITE_P(RingPages, EachRecording, ::testing::ValuesIn(testing::recordings()),
                         [](const auto& one) {
                             std::string name = testing::name_of(one.param);
                             std::ranges::replace_if(name, [](char c) { return std::isalnum(c) == 0; }, '_');
                             return name;
                         });

} // namespace
} // namespace skbscope
