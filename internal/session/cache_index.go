package session

// A slot of an index says where a record is: 23 bits of its key's hash, 9 bits
// of its size in granules, 32 bits of its location. No record has the size 0,
// so 0 is an empty slot.
type slot uint64

func newSlot(hash uint32, size int, at location) slot {
	return slot(hash)<<41 | slot(size/granule)<<32 | slot(at)
}

func (s slot) hash() uint32 { return uint32(s >> 41) }
func (s slot) size() int    { return int(s>>32&0x1ff) * granule }
func (s slot) at() location { return location(s) }

// An index is a hash table with linear probing. A map would do as well, but it
// reads four cache lines for each look-up, where this reads one: with many
// sessions each of them comes from memory, and that is what a look-up costs.
type index struct {
	slots []slot // a power of two
	n     int
}

// next returns the number of the first slot with hash, from slot number i on.
// The search starts at i = hash and goes on at i+1.
func (x *index) next(hash uint32, i int) (int, bool) {
	mask := len(x.slots) - 1
	for ; mask >= 0; i++ {
		i &= mask
		switch s := x.slots[i]; {
		case s == 0:
			return 0, false
		case s.hash() == hash:
			return i, true
		}
	}
	return 0, false
}

// find returns the number of the slot of the record at a location.
func (x *index) find(hash uint32, at location) (int, bool) {
	i, ok := x.next(hash, int(hash))
	for ok && x.slots[i].at() != at {
		i, ok = x.next(hash, i+1)
	}
	return i, ok
}

func (x *index) insert(s slot) {
	if 4*(x.n+1) > 3*len(x.slots) {
		old := x.slots
		x.slots = make([]slot, max(64, 2*len(old)))
		for _, s := range old {
			if s != 0 {
				x.store(s)
			}
		}
	}
	x.store(s)
	x.n++
}

func (x *index) store(s slot) {
	mask := len(x.slots) - 1
	i := int(s.hash()) & mask
	for x.slots[i] != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}

// remove empties slot number i, and moves back what was stored behind it only
// because it was taken.
func (x *index) remove(i int) {
	mask := len(x.slots) - 1
	x.n--
	for j := i; ; {
		j = (j + 1) & mask
		s := x.slots[j]
		if s == 0 {
			break
		}
		if home := int(s.hash()); (j-home)&mask >= (j-i)&mask {
			x.slots[i] = s
			i = j
		}
	}
	x.slots[i] = 0
}

func (x *index) clear() {
	clear(x.slots)
	x.n = 0
}
