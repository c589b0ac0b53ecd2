package browsertest

import _ "github.com/chromedp/chromedp"
import _ "github.com/celeryresults/celeryresults/web"
import _ "github.com/stretchr/testify/require"
import _ "modernc.org/sqlite"
import _ "github.com/celeryresults/celeryresults/backends"
