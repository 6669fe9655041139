# Says what is in a slot: BASE SLOT. Replies: `absent`, `running <version>`, `stopped <version> <reason>`.
place "$1" "$2" && recall || reply absent
is_up && reply "running $version"
reply "stopped $version $(ending)"
