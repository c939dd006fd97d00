// The catalog holds together: unique ids, every name of the path description, the right names per version.

#include "core/catalog/catalog.h"
#include "core/catalog/room_on_way.h"
#include "core/catalog/drop_ids.h"
#include "core/catalog/function_ids.h"
#include "core/catalog/room_ids.h"
#include "core/catalog/stage_ids.h"

#include <fstream>
#include <gmock/gmock.h>
#include <set>
#include <sstream>

namespace skbscope {
namespace {

std::vector<std::vector<std::string>> words_of(const std::string& file)
{
    std::ifstream in(std::string(SKBSCOPE_SOURCE_DIR "/tests/data/catalog/") + file);
    EXPECT_TRUE(in) << file;
    std::vector<std::vector<std::string>> lines;
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        std::istringstream words(line);
        lines.emplace_back(std::istream_iterator<std::string>(words), std::istream_iterator<std::string>());
    }
    EXPECT_GT(lines.size(), 10U) << file;
    return lines;
}

TEST(Catalog, IndexIsIdInEveryTable)
{
    for (std::size_t i = 0; i < Catalog::functions().size(); ++i) {
        EXPECT_EQ(to_index(Catalog::functions()[i].id), i);
    }
    for (std::size_t i = 0; i < Catalog::stages().size(); ++i) {
        EXPECT_EQ(to_index(Catalog::stages()[i].id), i);
    }
    for (std::size_t i = 0; i < Catalog::rooms().size(); ++i) {
        EXPECT_EQ(to_index(Catalog::rooms()[i].id), i);
    }
    for (std::size_t i = 0; i < Catalog::drop_reasons().size(); ++i) {
        EXPECT_EQ(to_index(Catalog::drop_reasons()[i].id), i);
    }
}

TEST(Catalog, EveryNameIsThereOnceAndFindsItsOwnRow)
{
    std::set<std::string_view> seen;
    for (const Function& f : Catalog::functions().subspan(1)) {
        EXPECT_TRUE(seen.insert(f.name).second) << f.name;
        EXPECT_EQ(Catalog::find_function(f.name), f.id) << f.name;
    }
    for (const Stage& s : Catalog::stages().subspan(1)) {
        EXPECT_EQ(Catalog::find_stage(s.key), s.id) << s.key;
    }
    for (const Room& r : Catalog::rooms().subspan(1)) {
        EXPECT_EQ(Catalog::find_room(r.key), r.id) << r.key;
    }
    for (const DropReason& r : Catalog::drop_reasons().subspan(1)) {
        EXPECT_EQ(Catalog::find_drop_reason(r.name), r.id) << r.name;
    }
}

TEST(Catalog, AllFiftyOneStagesHaveARoom)
{
    EXPECT_EQ(Catalog::stages().size(), 52U);
    for (const Stage& s : Catalog::stages().subspan(1)) {
        EXPECT_NE(s.room, RoomId::none) << s.key;
        EXPECT_FALSE(s.title.empty() || s.meaning.empty()) << s.key;
        EXPECT_NE(s.contexts, 0) << s.key;
    }
}

TEST(Catalog, ARouteIsLookedUpOnTheWayThatThePacketGoes)
{
    const FunctionId lookup = Catalog::find_function("fib_table_lookup");
    const auto room = [&](const char* before, Context context = Context::softirq) { return room_on_way(lookup, Catalog::find_room(before), context); };
    for (const char* below : {"ip_rcv", "pre_routing", "core_receive", "backlog", "napi_poll", "ingress", "route_in"}) {
        EXPECT_EQ(room(below), room::route_in) << below;
    }
    for (const char* above : {"udp_tx", "socket_tx", "app_tx", "icmp", "tcp_tx", "local_out", "route_out", "udp_rx", "arp", "neighbour"}) {
        EXPECT_EQ(room(above), room::route_out) << above;
    }
    EXPECT_EQ(room_on_way(lookup, RoomId::none, Context::process), room::route_out);
    EXPECT_EQ(room_on_way(lookup, RoomId::none, Context::softirq), room::route_in);
    // Functions that know one way only stay where they are.
    EXPECT_EQ(room_on_way(Catalog::find_function("ip_route_input_noref"), Catalog::find_room("udp_tx"), Context::process), room::route_in);
    EXPECT_EQ(room_on_way(Catalog::find_function("udp_rcv"), Catalog::find_room("udp_tx"), Context::process), room::udp_rx);
}

TEST(Catalog, EveryFunctionHasAStageARoomAContextAndWords)
{
    for (const Function& f : Catalog::functions().subspan(1)) {
        EXPECT_NE(f.stage, StageId::none) << f.name;
        EXPECT_NE(Catalog::room_of(f.id), RoomId::none) << f.name;
        EXPECT_NE(f.contexts, 0) << f.name;
        EXPECT_GT(f.what.size(), 10U) << f.name;
        EXPECT_LE(f.skb_argument, 6) << f.name;
    }
}

TEST(Catalog, EveryRoomTeachesAndNamesKnownSettings)
{
    for (const Room& r : Catalog::rooms().subspan(1)) {
        EXPECT_LE(r.row, 11) << r.key;
        EXPECT_LE(r.column, 3) << r.key;
        if (r.id != room::wire && r.id != room::app_tx) {
            EXPECT_GT(r.text.size(), 80U) << r.key;
        }
        if (!r.function.empty() && r.id != room::app_rx && r.id != room::app_tx) {
            EXPECT_NE(Catalog::find_function(r.function), FunctionId::none) << r.key;
        }
        for (const std::string_view setting : r.settings) {
            EXPECT_NE(Catalog::find_setting(setting), nullptr) << r.key << ' ' << setting;
        }
    }
}

TEST(Catalog, EveryFunctionOfThePathDescriptionIsThere)
{
    for (const auto& words : words_of("chains.txt")) {
        EXPECT_NE(Catalog::find_function(words.at(1)), FunctionId::none) << words.at(0) << ' ' << words.at(1);
    }
}

TEST(Catalog, EveryFunctionThatARecordingIsFilteredForIsThere)
{
    for (const auto& words : words_of("traced_functions.txt")) {
        EXPECT_NE(Catalog::find_function(words.at(0)), FunctionId::none) << words.at(0);
    }
}

TEST(Catalog, EveryNameOfTheClassicArticlesResolves)
{
    for (const auto& words : words_of("article_names.txt")) {
        const Resolution found = Catalog::resolve(words.at(0));
        static const std::map<std::string, Resolution::Kind> kinds = {
            {"function", Resolution::Kind::function}, {"syscall", Resolution::Kind::syscall},
            {"callback", Resolution::Kind::callback}, {"softirq", Resolution::Kind::softirq},
            {"queue", Resolution::Kind::queue},       {"setting", Resolution::Kind::setting},
            {"hook", Resolution::Kind::hook}};
        EXPECT_EQ(found.kind, kinds.at(words.at(1))) << words.at(0);
        EXPECT_EQ(found.asked, words.at(0));
        EXPECT_EQ(found.function, words.at(2) == "-" ? FunctionId::none : Catalog::find_function(words.at(2)))
            << words.at(0);
        EXPECT_GT(found.text.size(), 20U) << words.at(0);
        EXPECT_FALSE(found.today.empty() && words.at(0) != "prequeue") << words.at(0);
        EXPECT_TRUE(found.suggestions.empty()) << words.at(0);
    }
}

TEST(Catalog, HookPatternListsTheHooks)
{
    const Resolution found = Catalog::resolve("NF_INET_*");
    EXPECT_EQ(found.kind, Resolution::Kind::hook);
    for (const char* hook : {"PRE_ROUTING", "LOCAL_IN", "FORWARD", "LOCAL_OUT", "POST_ROUTING"}) {
        EXPECT_THAT(found.today, testing::HasSubstr(std::string("NF_INET_") + hook));
    }
    EXPECT_THAT(found.text, testing::HasSubstr("ip_local_deliver"));
}

TEST(Catalog, UnknownNameSuggestsNearOnes)
{
    const Resolution found = Catalog::resolve("ip_rvc");
    EXPECT_EQ(found.kind, Resolution::Kind::unknown);
    EXPECT_EQ(found.function, FunctionId::none);
    EXPECT_THAT(found.suggestions, testing::Contains("ip_rcv"));
    EXPECT_EQ(Catalog::resolve("zzqqxxkkjj").kind, Resolution::Kind::unknown);
    EXPECT_TRUE(Catalog::resolve("zzqqxxkkjj").suggestions.empty());
    EXPECT_EQ(Catalog::resolve("").kind, Resolution::Kind::unknown);
}

TEST(Catalog, PatternThatMatchesNothingIsUnknown)
{
    EXPECT_EQ(Catalog::resolve("NF_NOSUCH_*").kind, Resolution::Kind::unknown);
}

TEST(Catalog, SettingIsFoundByItsLastWordToo)
{
    const Resolution found = Catalog::resolve("netdev_budget");
    EXPECT_EQ(found.kind, Resolution::Kind::setting);
    EXPECT_EQ(found.today, "net.core.netdev_budget");
    EXPECT_THAT(found.text, testing::HasSubstr("300"));
}

TEST(Catalog, SettingOfOneDeviceIsTheSettingOfAll)
{
    ASSERT_NE(Catalog::find_setting("net.ipv4.neigh.default.unres_qlen_bytes"), nullptr);
    EXPECT_EQ(Catalog::find_setting("net.ipv4.neigh.default.unres_qlen_bytes")->name,
              "net.ipv4.neigh.*.unres_qlen_bytes");
    EXPECT_EQ(Catalog::find_setting("net.ipv4.neigh.default.no_such"), nullptr);
}

TEST(Catalog, CompilerSuffixesAreCut)
{
    EXPECT_EQ(Catalog::find_function("__netif_receive_skb_core.constprop.0"), fn::__netif_receive_skb_core);
    EXPECT_EQ(Catalog::find_function("udp4_lib_lookup2.isra.0"), fn::udp4_lib_lookup2);
    EXPECT_EQ(Catalog::find_function("do_softirq.part.0"), fn::do_softirq);
    EXPECT_EQ(Catalog::find_function("no_such_function.constprop.0"), FunctionId::none);
}

TEST(Catalog, NamesAreThoseOfTheirVersion)
{
    EXPECT_EQ(Catalog::name_in(fn::__netif_receive_skb_core, KernelVersion::v6_1),
              "__netif_receive_skb_core");
    EXPECT_EQ(Catalog::function(fn::__netif_receive_skb_core).symbol[2],
              "__netif_receive_skb_core.constprop.0");
    EXPECT_EQ(Catalog::function(fn::__netif_receive_skb_core).symbol[1], "__netif_receive_skb_core");
    // The drop function was renamed twice: three rows, each where it belongs.
    EXPECT_TRUE(Catalog::function(fn::kfree_skb).traceable[1]);
    EXPECT_TRUE(Catalog::function(fn::kfree_skb_reason).traceable[2]);
    EXPECT_FALSE(Catalog::function(fn::kfree_skb_reason).traceable[1]);
    EXPECT_TRUE(Catalog::function(fn::sk_skb_reason_drop).traceable[3]);
    EXPECT_FALSE(Catalog::function(fn::sk_skb_reason_drop).in_source[2]);
    EXPECT_TRUE(Catalog::function(fn::netif_rx_ni).traceable[1]);
    EXPECT_FALSE(Catalog::function(fn::netif_rx_ni).traceable[2]);
}

TEST(Catalog, InlinedFunctionsAreMarkedInvisible)
{
    for (const FunctionId id : {fn::neigh_hh_output, fn::dst_output, fn::__skb_queue_tail, fn::qdisc_restart,
                                fn::copy_linear_skb}) {
        const Function& f = Catalog::function(id);
        EXPECT_FALSE(f.traceable[2]) << f.name;
        EXPECT_TRUE(f.in_source[2]) << f.name;
        EXPECT_THAT(f.note, testing::HasSubstr("Not visible to ftrace")) << f.name;
    }
}

TEST(Catalog, SkbArgumentsAreThoseOfSixOne)
{
    EXPECT_EQ(Catalog::function(fn::ip_rcv).skb_argument, 1);
    EXPECT_EQ(Catalog::function(fn::ip_output).skb_argument, 3);
    EXPECT_EQ(Catalog::function(fn::__udp_enqueue_schedule_skb).skb_argument, 2);
    EXPECT_EQ(Catalog::function(fn::net_rx_action).skb_argument, 0);
}

TEST(Catalog, DropReasonNumbersDependOnTheVersion)
{
    EXPECT_EQ(Catalog::drop_reason_of(KernelVersion::v6_1, 15), drop::SOCKET_RCVBUFF);
    EXPECT_EQ(Catalog::drop_reason_of(KernelVersion::v6_12, 6), drop::SOCKET_RCVBUFF);
    EXPECT_EQ(Catalog::drop_reason_of(KernelVersion::v6_12, 1), drop::CONSUMED);
    EXPECT_FALSE(Catalog::drop_reason(drop::CONSUMED).is_drop);
    EXPECT_EQ(Catalog::drop_reason_of(KernelVersion::v5_10, 2), DropReasonId::none);
    EXPECT_EQ(Catalog::drop_reason_of(KernelVersion::v6_1, 4000), DropReasonId::none);
    EXPECT_EQ(Catalog::find_drop_reason("SKB_DROP_REASON_NO_SOCKET"), drop::NO_SOCKET);
    for (const DropReason& reason : Catalog::drop_reasons().subspan(1)) {
        EXPECT_FALSE(reason.what.empty()) << reason.name;
    }
}

TEST(Catalog, DropSitesSayWhatGovernsThem)
{
    const DropSite* site = Catalog::find_drop_site(fn::enqueue_to_backlog, drop::CPU_BACKLOG);
    ASSERT_NE(site, nullptr);
    EXPECT_EQ(site->key, "backlog_full");
    EXPECT_THAT(std::string(site->control), testing::HasSubstr("netdev_max_backlog"));
    EXPECT_EQ(Catalog::find_drop_site(fn::__udp_enqueue_schedule_skb, drop::SOCKET_RCVBUFF)->key,
              "udp_rcvbuf");
    EXPECT_EQ(Catalog::find_drop_site(fn::ip_output, DropReasonId::none), nullptr);
    EXPECT_EQ(Catalog::find_drop_site(FunctionId::none, DropReasonId::none), nullptr);
    EXPECT_EQ(Catalog::find_drop_site(FunctionId::none, drop::CPU_BACKLOG), nullptr);
    ASSERT_NE(Catalog::find_drop_site(FunctionId::none, drop::RX_RING_FULL), nullptr) << "no function runs where the NIC discards";
    EXPECT_EQ(Catalog::find_drop_site(FunctionId::none, drop::RX_RING_FULL)->key, "nic_ring_full");
    EXPECT_EQ(room_of_drop(FunctionId::none, drop::RX_RING_FULL), Catalog::find_room("rx_ring"));
    EXPECT_EQ(room_of_drop(fn::enqueue_to_backlog, drop::CPU_BACKLOG), Catalog::find_room("backlog"));
    EXPECT_EQ(room_of_drop(FunctionId::none, drop::CPU_BACKLOG), RoomId::none);
    for (const DropSite& any : Catalog::drop_sites()) {
        EXPECT_FALSE(any.remedy.empty()) << any.key;
        EXPECT_FALSE(any.condition.empty()) << any.key;
    }
}

TEST(Catalog, ForeignIdsMeanNone)
{
    EXPECT_EQ(Catalog::function(static_cast<FunctionId>(65000)).id, FunctionId::none);
    EXPECT_EQ(Catalog::room_of(static_cast<FunctionId>(65000)), RoomId::none);
    EXPECT_EQ(Catalog::drop_reason(static_cast<DropReasonId>(9999)).id, DropReasonId::none);
}

TEST(KernelVersions, AReleaseMapsToTheNearestKnownVersionBelow)
{
    EXPECT_EQ(kernel_version_of("6.1.0-56-amd64"), KernelVersion::v6_1);
    EXPECT_EQ(kernel_version_of("5.10.0-46-amd64"), KernelVersion::v5_10);
    EXPECT_EQ(kernel_version_of("6.12.117+deb12-amd64"), KernelVersion::v6_12);
    EXPECT_EQ(kernel_version_of("6.18.44"), KernelVersion::v6_18);
    EXPECT_EQ(kernel_version_of("7.0.1"), KernelVersion::v6_18);
    EXPECT_EQ(kernel_version_of("6.1 (model)"), KernelVersion::v6_1);
    EXPECT_EQ(kernel_version_of("3.10"), KernelVersion::v4_1);
    EXPECT_EQ(kernel_version_of("nonsense"), KernelVersion::v4_1);
    EXPECT_EQ(kernel_version_of(""), KernelVersion::v4_1);
}

} // namespace
} // namespace skbscope
