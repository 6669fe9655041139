# Asks for a turn: BASE. Reply: `turn <number>`, or `absent`.
place "$1" && [ -d "$repository" ] || reply absent
reply "turn $(turn)"
