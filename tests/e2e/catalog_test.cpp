// skbscope catalog: the names of the classic articles lead to what they are today.

#include "tests/e2e/program.h"

#include <algorithm>
#include <cctype>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

class CatalogName : public testing::TestWithParam<const char*> {};

TEST_P(CatalogName, ResolvesToWhatItIsToday)
{
    const auto text = skbscope({"catalog", GetParam()});
    EXPECT_EQ(text.status, 0) << text.err;
    EXPECT_THAT(text.out, HasSubstr(GetParam()));
    EXPECT_EQ(text.err, "");

    const auto json = skbscope({"catalog", GetParam(), "--format", "json"}).json();
    ASSERT_TRUE(json.is_object());
    EXPECT_EQ(json["asked"], GetParam());
    EXPECT_NE(json["kind"], "unknown");
    EXPECT_NE(json["text"], "");
}

INSTANTIATE_TEST_SUITE_P(
    OfTheArticles, CatalogName,
    testing::Values("socket", "sendto", "inet_sendmsg", "inet_autobind", "get_port", "udp_sendmsg",
                    "ip_route_output_flow", "ip_make_skb", "ip_send_skb", "__ip_local_out_sk",
                    "dst_output_sk", "ip_output", "ip_finish_output", "__ipv4_neigh_lookup_noref",
                    "__neigh_create", "dst_neigh_output", "neigh_resolve_output", "dev_queue_xmit",
                    "dev_hard_start_xmit", "ndo_start_xmit", "net_tx_action", "NET_TX_SOFTIRQ",
                    "net_rx_action", "poll", "napi_gro_receive", "enqueue_to_backlog", "input_pkt_queue",
                    "net.core.netdev_max_backlog", "__netif_receive_skb_core", "ip_rcv", "ip_local_deliver",
                    "ip_forward", "NF_INET_PRE_ROUTING", "NF_INET_LOCAL_IN", "NF_INET_FORWARD",
                    "NF_INET_LOCAL_OUT", "NF_INET_POST_ROUTING", "udp_rcv", "__udp4_lib_lookup_skb",
                    "sock_queue_rcv_skb", "sk_filter", "__skb_queue_tail", "sk_data_ready"),
    [](const auto& name) {
        // Test names may hold letters, digits and single underscores only.
        std::string safe;
        for (const char c : std::string(name.param)) {
            safe += std::isalnum(static_cast<unsigned char>(c)) != 0 ? std::string(1, c) : std::string("x");
        }
        return safe;
    });

TEST(CatalogCommand, UnknownNameIsOneLineWithWhatIsNear)
{
    const auto outcome = skbscope({"catalog", "enqueue_to_backlo"});
    EXPECT_EQ(outcome.status, 3);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.lines_on_stderr(), 1);
    EXPECT_THAT(outcome.err, HasSubstr("enqueue_to_backlog"));
}

TEST(CatalogCommand, ListsEveryFunctionOnALineOfItsOwn)
{
    const auto outcome = skbscope({"catalog"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.out, HasSubstr("\nip_rcv\t"));
    EXPECT_THAT(outcome.out, Not(HasSubstr("\n\n")));
    const auto json = skbscope({"catalog", "--format", "json"}).json();
    ASSERT_TRUE(json.is_array());
    EXPECT_EQ(static_cast<long>(json.size()), std::ranges::count(outcome.out, '\n'));
}

} // namespace
} // namespace skbscope::e2e
