package pickle

// The opcodes, under the names that CPython's pickletools gives them.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opFloat          = 'F'
	opInt            = 'I'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opLong           = 'L'
	opBinInt2        = 'M'
	opNone           = 'N'
	opPersID         = 'P'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opString         = 'S'
	opBinString      = 'T'
	opShortBinString = 'U'
	opUnicode        = 'V'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opDict           = 'd'
	opEmptyDict      = '}'
	opAppends        = 'e'
	opGet            = 'g'
	opBinGet         = 'h'
	opInst           = 'i'
	opLongBinGet     = 'j'
	opList           = 'l'
	opEmptyList      = ']'
	opObj            = 'o'
	opPut            = 'p'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opEmptyTuple     = ')'
	opSetItems       = 'u'
	opBinFloat       = 'G'
	opBinBytes       = 'B'
	opShortBinBytes  = 'C'

	// Protocol 2.
	opProto    = 0x80
	opNewObj   = 0x81
	opExt1     = 0x82
	opExt2     = 0x83
	opExt4     = 0x84
	opTuple1   = 0x85
	opTuple2   = 0x86
	opTuple3   = 0x87
	opNewTrue  = 0x88
	opNewFalse = 0x89
	opLong1    = 0x8a
	opLong4    = 0x8b

	// Protocol 4.
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opBinBytes8       = 0x8e
	opEmptySet        = 0x8f
	opAddItems        = 0x90
	opFrozenSet       = 0x91
	opNewObjEx        = 0x92
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95

	// Protocol 5.
	opByteArray8     = 0x96
	opNextBuffer     = 0x97
	opReadOnlyBuffer = 0x98
)

// operations is what the machine does for each opcode. The rest are errors.
var operations = [256]func(*machine) error{
	opMark:           (*machine).mark,
	opStop:           (*machine).stop,
	opPop:            (*machine).discard,
	opPopMark:        (*machine).discardMark,
	opDup:            (*machine).dup,
	opFloat:          (*machine).floatLine,
	opInt:            (*machine).intLine,
	opBinInt:         (*machine).int32,
	opBinInt1:        (*machine).uint8,
	opLong:           (*machine).longLine,
	opBinInt2:        (*machine).uint16,
	opNone:           pushes(value{kind: kindNone}),
	opPersID:         refuses("persistent id"),
	opBinPersID:      refuses("persistent id"),
	opReduce:         (*machine).reduce,
	opString:         (*machine).stringLine,
	opBinString:      counted(4, (*machine).byteString),
	opShortBinString: counted(1, (*machine).byteString),
	opUnicode:        (*machine).unicodeLine,
	opBinUnicode:     counted(4, (*machine).utf8),
	opAppend:         (*machine).appendOne,
	opBuild:          (*machine).build,
	opGlobal:         (*machine).globalLines,
	opDict:           (*machine).dictOfMark,
	opEmptyDict:      opens(kindDict),
	opAppends:        (*machine).appendMark,
	opGet:            (*machine).getLine,
	opBinGet:         gets(1),
	opInst:           (*machine).inst,
	opLongBinGet:     gets(4),
	opList:           (*machine).listOfMark,
	opEmptyList:      opens(kindList),
	opObj:            (*machine).obj,
	opPut:            (*machine).putLine,
	opBinPut:         puts(1),
	opLongBinPut:     puts(4),
	opSetItem:        (*machine).setOne,
	opTuple:          (*machine).tupleOfMark,
	opEmptyTuple:     pushes(emptyTuple),
	opSetItems:       (*machine).setMark,
	opBinFloat:       (*machine).float64,
	opBinBytes:       counted(4, (*machine).raw),
	opShortBinBytes:  counted(1, (*machine).raw),

	opProto:    (*machine).protocol,
	opNewObj:   (*machine).reduce,
	opExt1:     refuses("extension code"),
	opExt2:     refuses("extension code"),
	opExt4:     refuses("extension code"),
	opTuple1:   tuples(1),
	opTuple2:   tuples(2),
	opTuple3:   tuples(3),
	opNewTrue:  pushes(value{kind: kindBool, x: 1}),
	opNewFalse: pushes(value{kind: kindBool}),
	opLong1:    counted(1, (*machine).long),
	opLong4:    counted(4, (*machine).long),

	opShortBinUnicode: counted(1, (*machine).utf8),
	opBinUnicode8:     counted(8, (*machine).utf8),
	opBinBytes8:       counted(8, (*machine).raw),
	opEmptySet:        opens(kindSet),
	opAddItems:        (*machine).addMark,
	opFrozenSet:       (*machine).frozenOfMark,
	opNewObjEx:        (*machine).newObjEx,
	opStackGlobal:     (*machine).stackGlobal,
	opMemoize:         (*machine).memoize,
	opFrame:           (*machine).frame,

	opByteArray8:     counted(8, (*machine).raw),
	opNextBuffer:     refuses("out-of-band buffer"),
	opReadOnlyBuffer: refuses("out-of-band buffer"),
}
