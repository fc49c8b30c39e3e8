package limit

import "net/netip"

// AddressKey names the block of addresses that an address belongs to, a /24 or
// a /64: households and carriers share one, and an IPv6 customer has at least a
// /64 to himself. IPv4 in IPv6 is IPv4. What is no address is its own key.
func AddressKey(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap()
	bits := 64
	if ip.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(ip, bits).Masked().String()
}
