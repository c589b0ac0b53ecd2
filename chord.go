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

// Chorder is a Backend that keeps chords of Go programs. It counts different
// members, so that a member which is reported twice neither fires the body early
// nor keeps it from firing, and hands the body to one caller.
//
// Whoever hands a body over has claimed the chord for a while. A process that
// dies meanwhile leaves the claim to expire, and a sweep, or a member that is
// reported again, retakes it. So the body is handed over exactly once, unless a
// process dies after its ChordBody has done its work and before that is
// confirmed: give the body's task an id of its own that does not change, and
// that is harmless, too.
type Chorder interface {
	// StartChord keeps the chord. Start it before its members are sent. A chord
	// that stands already is left as it is. A chord without members is an error.
	StartChord(ctx context.Context, chord Chord) error

	// ReportPart notes that a member has ended; store its result first. When it
	// was the last one, body is called, and its error returned: the chord then
	// waits for the next sweep. A chord that is unknown or gone, and a task that
	// is no member, are no error.
	ReportPart(ctx context.Context, chordID, taskID string, body ChordBody) error

	// SweepChords hands over the bodies of complete chords that nobody has
	// claimed, or whose claim has expired, and returns how many. Call it from
	// time to time, from as many processes as you like.
	SweepChords(ctx context.Context, body ChordBody) (int, error)

	// DeleteChord removes the chord and what was reported, not its members'
	// results. An unknown chord is no error.
	DeleteChord(ctx context.Context, chordID string) error
}

// ChordCount is what is left of a chord of Celery's that is counted, by workers of
// Python and of Go alike.
type ChordCount struct {
	// Left is how many members have yet to end. At 0 the counter is gone, and
	// whoever sees that runs the body.
	Left int

	// Group has the members in their order.
	Group ResultTuple
}
