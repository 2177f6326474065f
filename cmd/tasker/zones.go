package main

import _ "time/tzdata" // images and small machines have no files that say what a zone is
