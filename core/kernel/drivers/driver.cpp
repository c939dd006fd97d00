#include "core/kernel/drivers/driver.h"

namespace skbscope::kernel {

const NetDeviceOps& netdev_ops(DeviceKind kind)
{
    static constexpr NetDeviceOps table[] = {
        {"loopback", loopback_xmit, nullptr, nullptr, nullptr, nullptr},
        {"e1000", e1000_xmit_frame, e1000_intr, e1000_frame_arrives, e1000_transmitted, e1000_throttle_over},
        {"e1000e", e1000e_xmit_frame, e1000e_intr_msix, e1000e_frame_arrives, e1000e_transmitted, e1000e_throttle_over},
        {"virtio_net", start_xmit, vring_interrupt, virtio_frame_arrives, virtio_transmitted, virtio_throttle_over},
        {"veth", veth_xmit, nullptr, nullptr, nullptr, nullptr},
    };
    return table[static_cast<std::size_t>(kind)];
}

const NapiOps& napi_ops(Napi::Poll poll)
{
    static constexpr NapiOps table[] = {
        {begin_process_backlog, step_process_backlog},
        {begin_e1000_clean, step_e1000_clean},
        {begin_e1000e_poll, step_e1000e_poll},
        {begin_virtnet_poll, step_virtnet_poll},
        {begin_virtnet_poll_tx, step_virtnet_poll_tx},
    };
    return table[static_cast<std::size_t>(poll)];
}

} // namespace skbscope::kernel
