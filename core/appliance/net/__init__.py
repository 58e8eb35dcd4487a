"""Access to the kernel's network: netlink, packet and raw sockets, nftables, namespaces, capabilities."""
