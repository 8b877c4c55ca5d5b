UPDATE books SET booked_id = ?
