// net/core/gro.c and the GRO callbacks of net/ipv4/af_inet.c and net/ipv4/udp_offload.c. A plain UDP datagram is not
// held: it passes with GRO_NORMAL and waits in napi->rx_list for its batch.

#include "core/kernel/functions.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

void inet_gro_receive(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::inet_gro_receive, skb);
    const auto ip = Ipv4View::checked(skb_data(k, skb));
    if (!ip || ip->version() != 4 || ip->is_fragment() || ip->header_length() != 20) {
        return; // flush: not for GRO
    }
    if (ip->protocol() == proto::ipproto_udp) {
        Call udp4(k, fn::udp4_gro_receive, skb);
        Call udp(k, fn::udp_gro_receive, skb);
    }
}

void dev_gro_receive(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::dev_gro_receive, skb);
    if (k.skb(skb).protocol == proto::eth_p_ip) {
        inet_gro_receive(k, skb);
    }
}

void gro_normal_one(Kernel& k, NapiIndex index, SkbIndex skb)
{
    Call call(k, fn::gro_normal_one, skb);
    Napi& napi = k.napi(index);
    napi.rx_list.push_back(skb);
    k.enqueue(napi.rx_list_queue, k.skb(skb).packet, fn::gro_normal_one);
    if (static_cast<std::int64_t>(napi.rx_list.size()) >= k.core_sysctl().gro_normal_batch) {
        gro_normal_list(k, index);
    }
}

} // namespace

void gro_normal_list(Kernel& k, NapiIndex index)
{
    if (k.napi(index).rx_list.empty()) {
        return;
    }
    Call call(k, fn::gro_normal_list);
    SkbList list = std::move(k.napi(index).rx_list);
    k.napi(index).rx_list.clear();
    for (const SkbIndex skb : list) {
        k.dequeue(k.napi(index).rx_list_queue, k.skb(skb).packet, fn::gro_normal_list);
    }
    netif_receive_skb_list_internal(k, std::move(list));
}

void napi_gro_receive(Kernel& k, NapiIndex napi, SkbIndex skb)
{
    Call call(k, fn::napi_gro_receive, skb);
    dev_gro_receive(k, skb);
    Call finish(k, fn::napi_skb_finish, skb);
    gro_normal_one(k, napi, skb);
}

} // namespace skbscope::kernel
