package celeryresults

import "context"

// Chord is a group of tasks whose body is to run once all of them have ended.
type Chord struct {
	// ID is the group's id.
	ID string

	// Members are the ids of the group's tasks, all different, in the order in
	// which the body gets their results.
	Members []string

	// Body is what the hand-over needs, such as the signature of the task to
	// send. It is kept with the chord, so that any process can hand it over.
	Body Value
}

// ChordBody hands the body of a chord over, such as by sending it to a broker.
// The results are those of chord.Members, in their order, whatever their states;
// a member that is unknown has expired meanwhile. A nil error confirms the
// hand-over, after which the chord is gone.
type ChordBody func(ctx context.Context, chord Chord, results []*TaskMeta) error
