package publisher

import "container/list"

// seen remembers the ids of events, those that came up least recently no more.
// It is for one goroutine.
type seen struct {
	most  int
	order *list.List // of ids, the latest in front
	byID  map[string]*list.Element
}

func newSeen(most int) *seen {
	return &seen{most: most, order: list.New(), byID: map[string]*list.Element{}}
}

// before reports whether the id has come up before, and remembers it.
func (s *seen) before(id string) bool {
	if at := s.byID[id]; at != nil {
		s.order.MoveToFront(at)
		return true
	}
	s.byID[id] = s.order.PushFront(id)
	if s.order.Len() > s.most {
		delete(s.byID, s.order.Remove(s.order.Back()).(string)) // ids are all it holds
	}
	return false
}
