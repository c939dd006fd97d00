// The same work in ns-3: datagrams of 512 bytes from a socket on one node to a socket on another, over its point-to-point
// link. Prints packets a second. Built where ns-3 (Debian: libns3-dev) is installed.
//
//   ns3_pair [DATAGRAMS]

#include <ns3/core-module.h>
#include <ns3/internet-module.h>
#include <ns3/network-module.h>
#include <ns3/point-to-point-module.h>

#include <ctime>
#include <cstdio>
#include <cstdlib>

namespace {

std::uint64_t received = 0;

void take(ns3::Ptr<ns3::Socket> socket)
{
    while (socket->Recv()) {
        ++received;
    }
}

void send(ns3::Ptr<ns3::Socket> socket, long left)
{
    socket->Send(ns3::Create<ns3::Packet>(512));
    if (left > 1) {
        ns3::Simulator::Schedule(ns3::MicroSeconds(20), &send, socket, left - 1);
    }
}

} // namespace

int main(int argc, char** argv)
{
    using namespace ns3;
    const long datagrams = argc > 1 ? std::atol(argv[1]) : 200'000;
    NodeContainer nodes;
    nodes.Create(2);
    PointToPointHelper link;
    link.SetDeviceAttribute("DataRate", StringValue("10Gbps"));
    link.SetChannelAttribute("Delay", StringValue("500ns"));
    const NetDeviceContainer devices = link.Install(nodes);
    InternetStackHelper().Install(nodes);
    Ipv4AddressHelper addresses("10.0.0.0", "255.255.255.0");
    const Ipv4InterfaceContainer interfaces = addresses.Assign(devices);

    const Ptr<Socket> receiver = Socket::CreateSocket(nodes.Get(1), UdpSocketFactory::GetTypeId());
    receiver->Bind(InetSocketAddress(Ipv4Address::GetAny(), 5001));
    receiver->SetRecvCallback(MakeCallback(&take));
    const Ptr<Socket> sender = Socket::CreateSocket(nodes.Get(0), UdpSocketFactory::GetTypeId());
    sender->Connect(InetSocketAddress(interfaces.GetAddress(1), 5001));
    Simulator::Schedule(MicroSeconds(50), &send, sender, datagrams);

    const std::clock_t start = std::clock(); // of this process: other work on the machine does not count
    Simulator::Run();
    const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    Simulator::Destroy();
    std::printf("ns-3: %ld datagrams, %llu received, %.3f s, %.0f packets/s\n", datagrams, static_cast<unsigned long long>(received),
                took, static_cast<double>(datagrams) / took);
    return received == static_cast<std::uint64_t>(datagrams) ? 0 : 1;
}
