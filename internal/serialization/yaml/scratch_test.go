package yaml_test
import ("testing";"strings";"fmt"; "github.com/celeryresults/celeryresults/internal/serialization/yaml")
func TestScratch(t *testing.T){
 for _, c := range []struct{n string; f func(n int) string}{
  {"keys", keys},
  {"anchors", func(n int) string {return strings.Repeat("&a ", n)}},
  {"tags", func(n int) string {return strings.Repeat("!a ", n)}},
  {"items", func(n int) string {return strings.Repeat("- a\n", n)}},
  {"flow", func(n int) string {return "["+strings.Repeat("a,", n)+"]"}},
  {"flownull", func(n int) string {return "{"+strings.Repeat("a,", n)+"}"}},
  {"comments", func(n int) string {return "a: 1\n"+strings.Repeat("# c\n", n)}},
  {"commentitems", func(n int) string {return strings.Repeat("# c\n- a # d\n", n)}},
  {"pairs", func(n int) string {return "["+strings.Repeat("a: b,", n)+"]"}},
  {"qmarks", func(n int) string {return strings.Repeat("? a\n", n)}},
  {"colons", func(n int) string {return strings.Repeat(": a\n", n)}},
  {"plainlong", func(n int) string {return strings.Repeat("a\n", n)}},
  {"quotes", func(n int) string {return "["+strings.Repeat("'a' ,", n)+"]"}},
  {"openflow", func(n int) string {return strings.Repeat("[a, ", 400)+strings.Repeat("b, ",n)}},
  {"unique anchors", func(n int) string {var b strings.Builder; for i:=range n {fmt.Fprintf(&b,"- &a%d a\n",i)}; return b.String()}},
  {"mergelist", func(n int) string {return "a: &a {k: v}\nb: {<<: ["+strings.Repeat("*a,",n)+"]}"}},
  {"tabs", func(n int) string {return "a:\n"+strings.Repeat("\t", n)}},
  {"docs", func(n int) string {return strings.Repeat("---\n", n)}},
  {"tagdirs", func(n int) string {var b strings.Builder; for i:=range n {fmt.Fprintf(&b,"%%TAG !a%d! x\n",i)}; return b.String()+"--- a"}},
  {"flowcomments", func(n int) string {return "["+strings.Repeat("#c\n", n)+"]"}},
 }{
  for _, n := range []int{50000,100000,200000} {
   doc := []byte(c.f(n))
   var err error
   took, alloc, err := cost(func() error { _, err = yaml.Codec.Decode(doc); return err})
   es := ""; if err != nil { es = err.Error(); if len(es)>80 {es=es[:80]} }
   fmt.Printf("%-14s n=%d %8d bytes %v alloc %dMB (%.0f/byte) %s\n", c.n, n, len(doc), took, alloc>>20, float64(alloc)/float64(len(doc)), es)
  }
 }
 doc := []byte(strings.Repeat("- a\n", 2<<20))
 took, alloc, err := cost(func() error { _, err := yaml.Codec.Decode(doc); return err})
 fmt.Println("max items", took, alloc>>20, err)
 doc = []byte("{"+strings.Repeat("a,", 2<<20-10)+"}")
 took, alloc, err = cost(func() error { _, err := yaml.Codec.Decode(doc); return err})
 fmt.Println("max flow", took, alloc>>20, err)
}
