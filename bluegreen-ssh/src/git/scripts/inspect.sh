# Says what the web root points to: BASE. Reply: its state, and the version.
place "$1" || reply absent
look
reply "$state $served"
