package pickle

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/celeryresults/celeryresults/python"
)

// Trusted is an object that Append may write although Python will import its
// module and call its class, or its function, on reading. Only wrap objects
// that the program itself made, never one that was decoded. The trust does not
// extend to objects among its arguments or in its state: wrap those as well.
// The zero Trusted is None.
type Trusted struct{ *python.Object }

// Harmless reports whether Append writes objects of class c. These are classes
// whose construction in Python only stores its arguments: the builtin
// exceptions and those of Celery, kombu and billiard, and a few builtin types.
// Any other class may run code when Python reads it, so that an object which
// was decoded as inert data must not go back into a store.
func Harmless(c python.Class) bool {
	_, ok := harmless[c]
	return ok
}

// parts says which parts an object of a harmless class may have beside its
// arguments.
type parts uint8

const (
	hasState parts = 1 << iota
	hasItems
	hasPairs
	hasObjects // among its arguments
)

const exception = hasState | hasObjects

var harmless = map[python.Class]parts{
	{Module: "builtins", Name: "object"}:         0,
	{Module: "builtins", Name: "range"}:          0,
	{Module: "builtins", Name: "slice"}:          0,
	{Module: "collections", Name: "OrderedDict"}: hasPairs | hasState,
	{Module: "collections", Name: "defaultdict"}: hasPairs,
	{Module: "collections", Name: "deque"}:       hasItems,
	fraction:                                     0,

	{Module: "celery.utils.serialization", Name: "UnpickleableExceptionWrapper"}: exception,
}

var fraction = python.Class{Module: "fractions", Name: "Fraction"}

// exceptions are the harmless exceptions of each module.
var exceptions = map[string]string{
	"builtins": `
		ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError
		BrokenPipeError BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError
		ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError EncodingWarning
		EnvironmentError Exception ExceptionGroup FileExistsError FileNotFoundError FloatingPointError
		FutureWarning GeneratorExit IOError ImportError ImportWarning IndentationError IndexError
		InterruptedError IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError
		ModuleNotFoundError NameError NotADirectoryError NotImplementedError OSError OverflowError
		PendingDeprecationWarning PermissionError ProcessLookupError RecursionError ReferenceError
		ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration StopIteration SyntaxError
		SyntaxWarning SystemError SystemExit TabError TimeoutError TypeError UnboundLocalError
		UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning
		UserWarning ValueError Warning ZeroDivisionError`,
	"celery.exceptions": `
		AlreadyRegistered AlwaysEagerIgnored BackendError BackendGetMetaError BackendStoreError
		CDeprecationWarning CPendingDeprecationWarning CeleryCommandException CeleryError CeleryWarning
		ChordError DuplicateNodenameWarning FixupWarning Ignore ImproperlyConfigured IncompleteStream
		InvalidTaskError MaxRetriesExceededError NotConfigured NotRegistered OperationalError
		QueueNotFound Reject Retry SecurityError SecurityWarning SoftTimeLimitExceeded TaskError
		TaskPredicate TaskRevokedError Terminated TimeLimitExceeded TimeoutError WorkerLostError
		WorkerShutdown WorkerTerminate`,
	"kombu.exceptions": `
		ChannelError ChannelLimitExceeded ConnectionError ConnectionLimitExceeded ContentDisallowed
		DecodeError EncodeError HttpError InconsistencyError KombuError LimitExceeded MessageStateError
		NotBoundError OperationalError ResourceError SerializationError SerializerNotInstalled
		TimeoutError VersionMismatch`,
	"billiard.exceptions": `
		AuthenticationError BufferTooShort CoroStop ProcessError RestartFreqExceeded
		SoftTimeLimitExceeded Terminated TimeLimitExceeded TimeoutError WorkerLostError`,
}

func init() {
	for module, names := range exceptions {
		for _, name := range strings.Fields(names) {
			harmless[python.Class{Module: module, Name: name}] = exception
		}
	}
}

// class writes a class itself.
func (e *encoder) class(c python.Class) error {
	if !Harmless(c) {
		return refused(c)
	}
	e.global(c.Module, c.Name)
	return nil
}

func refused(c python.Class) error {
	return fmt.Errorf("pickle: %s not written: Python would call it on reading: %w", c, python.ErrUnsupported)
}

// object writes an instance, or a call.
func (e *encoder) object(o *python.Object, trusted bool) error {
	if o == nil {
		e.op(opNone)
		return nil
	}
	if err := e.permit(o, trusted); err != nil {
		return err
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	outerHashed, outerInert := e.hashed, e.inert
	e.hashed, e.inert = false, !trusted && harmless[o.Class]&hasObjects == 0
	err := e.construct(o)
	e.hashed, e.inert = outerHashed, outerInert
	if err == nil {
		err = e.furnish(o)
	}
	return err
}

// permit returns an error unless Python may construct o.
func (e *encoder) permit(o *python.Object, trusted bool) error {
	if !isName(o.Class.Module) || !isName(o.Class.Name) {
		return unsupportedError("class name that is no identifier")
	}
	if trusted {
		return nil
	}
	may, ok := harmless[o.Class]
	switch {
	case !ok, e.inert:
		return refused(o.Class)
	case e.hashed && may&(hasItems|hasPairs) != 0:
		return unsupportedError("collection as a dict's key or in a set")
	case o.State != nil && may&hasState == 0,
		len(o.Items) > 0 && may&hasItems == 0,
		len(o.Pairs) > 0 && may&hasPairs == 0,
		o.Class == fraction && !isFraction(o.Args):
		return fmt.Errorf("pickle: %s of this form: %w", o.Class, python.ErrUnsupported)
	}
	return nil
}

// construct writes the class, the arguments and the call. An object that has
// a state but no arguments is made without its __init__, as copyreg does.
func (e *encoder) construct(o *python.Object) error {
	e.global(o.Class.Module, o.Class.Name)
	if err := e.packed(o.Args); err != nil {
		return err
	}
	switch {
	case len(o.Kwargs) > 0:
		if err := textMap(e, o.Kwargs, e.value); err != nil {
			return err
		}
		e.op(opNewObjEx, opMemoize)
	case len(o.Args) == 0 && o.State != nil:
		e.op(opNewObj, opMemoize)
	default:
		e.op(opReduce, opMemoize)
	}
	return nil
}

// furnish writes what is added to an object once it exists, in copyreg's order.
func (e *encoder) furnish(o *python.Object) error {
	outer := e.hashed
	e.hashed = false
	defer func() { e.hashed = outer }()
	err := e.ordered(len(o.Items), opAppend, opAppends, func(i int) error { return e.value(o.Items[i]) })
	if err == nil {
		err = e.assign(o.Pairs)
	}
	if err != nil || o.State == nil {
		return err
	}
	err = e.value(o.State)
	e.op(opBuild)
	return err
}

// isFraction reports whether args are what Fraction pickles: "1/2". Other
// texts can make Python compute for ever, such as 1e1000000000.
func isFraction(args python.Tuple) bool {
	if len(args) != 1 {
		return false
	}
	s, _ := args[0].(string)
	whole, part, divided := strings.Cut(s, "/")
	return len(s) <= MaxDigits && isInteger([]byte(whole)) &&
		(!divided || countDigits([]byte(part)) == len(part) && strings.Trim(part, "0") != "")
}

// isName reports whether s is identifiers joined by points.
func isName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !isIdentifier(part) {
			return false
		}
	}
	return true
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}
